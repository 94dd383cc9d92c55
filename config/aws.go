package config

import (
	"fmt"
	"regexp"
	"strings"
)

const compass = `(north|south|east|west|central|northeast|northwest|southeast|southwest)-[0-9]`

// partitions are AWS's separate clouds, each with the form of its regions.
var partitions = []struct {
	name    string
	regions *regexp.Regexp
}{
	{"aws", regexp.MustCompile(`^(us|eu|ap|sa|ca|me|af|il|mx)-` + compass + `$`)},
	{"aws-cn", regexp.MustCompile(`^cn-` + compass + `$`)},
	{"aws-us-gov", regexp.MustCompile(`^us-gov-` + compass + `$`)},
	{"aws-eusc", regexp.MustCompile(`^eusc-[a-z]{2}-` + compass + `$`)},
	{"aws-iso", regexp.MustCompile(`^us-iso-` + compass + `$`)},
	{"aws-iso-b", regexp.MustCompile(`^us-isob-` + compass + `$`)},
	{"aws-iso-e", regexp.MustCompile(`^eu-isoe-` + compass + `$`)},
	{"aws-iso-f", regexp.MustCompile(`^us-isof-` + compass + `$`)},
}

// partitionOf is the partition of a region, "" where the region is of no form that is known here.
func partitionOf(region string) string {
	for _, p := range partitions {
		if p.regions.MatchString(region) {
			return p.name
		}
	}
	return ""
}

var (
	regionForm  = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+){1,3}-[0-9]{1,2}$`)
	serviceForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	partForm    = regexp.MustCompile(`^aws(-[a-z]+)*$`)
	accountForm = regexp.MustCompile(`^[0-9]{12}$`)
	// IAM API reference, Role: a path of printable ASCII between slashes, a name of 1 to 64 characters.
	roleForm = regexp.MustCompile(`^role/([!-.0-~]+/)*[A-Za-z0-9_+=,.@-]{1,64}$`)
)

const roleExample = "an ARN such as arn:aws:iam::123456789012:role/Name"

// roleARN checks the ARN of an IAM role that is assumed from region.
func (c *checker) roleARN(field, arn, region string) {
	if arn == "" {
		c.mistake(field, "is missing", roleExample)
		return
	}
	if strings.ContainsAny(arn, " \t\r\n") {
		c.mistake(field, quote(arn)+" has whitespace in it", roleExample)
		return
	}
	part := strings.SplitN(arn, ":", 6)
	switch {
	case len(part) != 6 || part[0] != "arn" || len(arn) > 2048:
		c.mistake(field, quote(arn)+" is not an ARN", roleExample)
	case !partForm.MatchString(part[1]):
		c.mistake(field, fmt.Sprintf("%s has %s for a partition", quote(arn), quote(part[1])), "aws, aws-cn, aws-us-gov, aws-eusc or aws-iso and its like")
	case part[2] != "iam" || part[3] != "" || !strings.HasPrefix(part[5], "role/"):
		c.mistake(field, quote(arn)+" is not the ARN of an IAM role", roleExample)
	case !accountForm.MatchString(part[4]):
		c.mistake(field, fmt.Sprintf("%s has %s for an account", quote(arn), quote(part[4])), "the account's 12 digits")
	case !roleForm.MatchString(part[5]):
		c.mistake(field, fmt.Sprintf("%s has %s for a role", quote(arn), quote(part[5])),
			"role/, a path if the role has one, and a name of at most 64 letters, digits and _+=,.@-")
	case partitionOf(region) != "" && partitionOf(region) != part[1]:
		c.mistake(field, fmt.Sprintf("the role is in partition %s, but region %s is in %s", part[1], region, partitionOf(region)),
			"a role and a region of one partition")
	}
}

// awsSTS checks the block of type awsSts.
func (c *checker) awsSTS(s *AWSSTS) {
	switch {
	case s.Region == "":
		c.mistake("awsSts.region", "is missing", "the region of the remote's endpoint, such as us-east-1")
	case !regionForm.MatchString(s.Region):
		c.mistake("awsSts.region", quote(s.Region)+" is not an AWS region", "a region such as us-east-1")
	case partitionOf(s.Region) == "":
		c.warn("awsSts.region", quote(s.Region)+" is not a region that rolegate knows", "check its spelling")
	}
	if !serviceForm.MatchString(s.Service) {
		c.mistake("awsSts.service", quote(s.Service)+" is not a service name", "lower-case letters, digits and hyphens, such as aws-mcp")
	}
	if d := s.SessionDuration; d != nil && (*d < 900 || *d > 43200) {
		c.mistake("awsSts.sessionDuration", fmt.Sprintf("is %d seconds", *d), "900 to 43200")
	}
	if s.FallbackRoleArn != "" {
		c.roleARN("awsSts.fallbackRoleArn", s.FallbackRoleArn, s.Region)
	} else if len(s.RoleMappings) == 0 {
		c.mistake("awsSts", "maps nobody to a role", "fallbackRoleArn, roleMappings or both")
	}
	if n := len(s.RoleMappings); n > 256 {
		c.mistake("awsSts.roleMappings", fmt.Sprintf("has %d mappings", n), "at most 256; a matcher can stand for many")
	}
	seen := map[RoleMapping]int{}
	for i, m := range s.RoleMappings {
		c.roleMapping(fmt.Sprintf("awsSts.roleMappings[%d]", i), m, s.Region)
		test := RoleMapping{Claim: m.Claim, Matcher: m.Matcher}
		if first, again := seen[test]; again && test != (RoleMapping{}) {
			c.warn(fmt.Sprintf("awsSts.roleMappings[%d]", i), fmt.Sprintf("matches the same callers as roleMappings[%d], so one of them is never reached", first),
				"one mapping for them")
		} else {
			seen[test] = i
		}
	}
}

func (c *checker) roleMapping(field string, m RoleMapping, region string) {
	switch {
	case m.Claim == "" && m.Matcher == "":
		c.mistake(field+".claim", "is missing, and so is matcher", "one of them")
	case m.Claim != "" && m.Matcher != "":
		c.mistake(field, "has both claim and matcher", "one of them; a matcher can test the claim too")
	case m.OnError != "" && m.Matcher == "":
		c.mistake(field+".onError", "says what a matcher does, but there is none", "remove it")
	case m.OnError != "" && m.OnError != "skip" && m.OnError != "deny":
		c.mistake(field+".onError", quote(m.OnError)+" is not known", "skip or deny")
	}
	c.roleARN(field+".roleArn", m.RoleArn, region)
}
