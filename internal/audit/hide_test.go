package audit_test

import (
	"strings"
	"testing"

	"github.com/rolegate/rolegate/config"
)

// What is redacted goes beyond a member whose name has the words of a key.
func TestWhatIsHidden(t *testing.T) {
	const signed = `https://b.s3.amazonaws.com/k?X-Amz-Algorithm=AWS4&X-Amz-Credential=AKIA%2F1&X-Amz-Signature=5f&partNumber=2`
	for _, tt := range []struct{ name, args, want string }{
		{
			"digits, and words that nothing parts", `{"password1":"x","1password":"x","PGPASSWORD":"x","userpassword":"x","mytoken2":"x","OPENAIAPIKEY":"x","S3_secret":"x"}`,
			`{"password1":"[redacted]","1password":"[redacted]","PGPASSWORD":"[redacted]","userpassword":"[redacted]","mytoken2":"[redacted]","OPENAIAPIKEY":"[redacted]","S3_secret":"[redacted]"}`,
		},
		{"names that are none of that", `{"maxTokens":1,"passwordless":2,"s3":3,"secretary":4,"shoe1":5,"tokens2":6}`, `{"maxTokens":1,"passwordless":2,"s3":3,"secretary":4,"shoe1":5,"tokens2":6}`},
		{"keys with digits", `{"id2":1,"h2o":2,"myH2O":3,"h2":4}`, `{"id2":1,"h2o":"[redacted]","myH2O":"[redacted]","h2":4}`},
		{
			"a value beside its name", `{"headers":[{"name":"Authorization","value":"Bearer x"},{"name":"Accept","value":"*/*"}],"env":[{"value":{"a":["x"]},"key":"DB_PASSWORD","n":1}]}`,
			`{"headers":[{"name":"Authorization","value":"[redacted]"},{"name":"Accept","value":"*/*"}],"env":[{"value":"[redacted]","key":"DB_PASSWORD","n":1}]}`,
		},
		{
			"other words for that", `[{"ParameterKey":"DbPassword","ParameterValue":"x"},{"Values":["x"],"a":1,"Value":2,"p\u0061rName":"/prod/db/p\u0061ssword"},{"header":"Cookie","value":"x"}]`,
			`[{"ParameterKey":"DbPassword","ParameterValue":"[redacted]"},{"Values":"[redacted]","a":1,"Value":"[redacted]","p\u0061rName":"/prod/db/p\u0061ssword"},{"header":"Cookie","value":"[redacted]"}]`,
		},
		{"a name for another object's value", `{"name":"password","a":{"value":1},"b":[{"value":2}]}`, `{"name":"password","a":{"value":1},"b":[{"value":2}]}`},
		{"a name that is no text", `{"name":["password"],"value":1}`, `{"name":["password"],"value":1}`},
		{"a user in a URL", `{"u":"https://u:pw@x/?a=b","v":["postgres://pw@h:5432/d","redis://:p@w@h"]}`, `{"u":"https://[redacted]@x/?a=b","v":["postgres://[redacted]@h:5432/d","redis://[redacted]@h"]}`},
		{"no user", `{"u":"https://x/a@b?c=d@e","v":"mail a@b, see https://x:80 and c@d"}`, `{"u":"https://x/a@b?c=d@e","v":"mail a@b, see https://x:80 and c@d"}`},
		{
			"a URL that was signed", `{"u":"` + signed + `"}`,
			`{"u":"https://b.s3.amazonaws.com/k?X-Amz-Algorithm=AWS4&X-Amz-Credential=[redacted]&X-Amz-Signature=[redacted]&partNumber=2"}`,
		},
		{"with escapes", `{"u":"https:\/\/u:p@x\/?a=1\u0026si\u0067=5f\u0026b=\"","v":"\u003a//\n"}`, `{"u":"https://[redacted]@x/?a=1&sig=[redacted]&b=\"","v":"\u003a//\n"}`},
		{
			"in a text", `{"script":"curl 'https://u:p@x/?access%5Ftoken=t' \"ftp://h/#id_token=t;x=1\"\nexit"}`,
			`{"script":"curl 'https://[redacted]@x/?access%5Ftoken=[redacted]' \"ftp://h/#id_token=[redacted];x=1\"\nexit"}`,
		},
		{"one within another", `{"u":"https://x/?next=https://u:p@y/?token=t&a=jdbc://h?password=p"}`, `{"u":"https://x/?next=https://[redacted]@y/?token=[redacted]&a=jdbc://h?password=[redacted]"}`},
		{"no URL", `{"u":"a//b?sig=c","v":"://","w":"token=x"}`, `{"u":"a//b?sig=c","v":"://","w":"token=x"}`},
	} {
		got, cut := arguments(t, config.Audit{IncludeRequestData: true, RedactKeys: []string{"h2o"}}, `{"_":`+tt.args+`}`)
		if want := `{"_":` + tt.want + `}`; got != want || cut != "" {
			t.Errorf("%s: %s (cut: %q)\nwant %s", tt.name, got, cut, want)
		}
	}
}

// Where the end is not there, neither is a name that might come, or the host after a password.
func TestWhatIsHiddenOfACutResponse(t *testing.T) {
	long := strings.Repeat("x", 9000)
	for _, tt := range []struct {
		name, raw string
		most      int32
		cut       string
	}{
		{"a value before its name", `{"value":"` + long + `","name":"pin"}`, 24, `{"value":"[redacted]"`},
		{"a value before what is long", `{"value":1,"b":"` + long + `","name":"pin"}`, 30, `{"value":"[redacted]","b":"xxx`},
		{"a value behind its name", `{"name":"a","value":"` + long, 24, `{"name":"a","value":"xxx`},
		{"a secret behind its name", `{"name":"pin","value":"` + long, 40, `{"name":"pin","value":"[redacted]"`},
		{"half a name", `{"value":1,"name":"pi`, 40, `{"value":"[redacted]","name":"pi`},
		{"what follows a long secret", `[{"value":"` + long + `","name":"pin"},{"a":1}]`, 40, `[{"value":"[redacted]"`},
		{"the beginning of a user", `{"a":"https://u:p`, 40, `{"a":"https://[redacted]`},
		{"of a host", `{"a":"https://u:p@h`, 40, `{"a":"https://[redacted]@h`},
		{"of a signature", `{"a":"https://h/?x=1\u0026sig=5\u00`, 40, `{"a":"https://h/?x=1&sig=[redacted]`},
		{"of a path", `{"a":"https://h/\`, 40, `{"a":"https://h/\`},
	} {
		if whole, cut := responded(config.Audit{IncludeResponseData: true, MaxDataSize: tt.most}, tt.raw); whole != "" || cut != tt.cut {
			t.Errorf("%s: %q and %q, want %q", tt.name, whole, cut, tt.cut)
		}
	}
}
