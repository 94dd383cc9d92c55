package observability_test

import "github.com/rolegate/rolegate/internal/telemetry"

var ofRequests = []alert{
	{
		name: "RolegateRemoteThrottled", severity: warning, hold: "5m",
		expr:        "(\n" + share("10m", requests, `decision="allowed"`, `status="429"`) + "\n) > 0.01\nand " + grown("10m", requests, `decision="allowed"`, `status="429"`) + " >= 3",
		summary:     "the remote answers {{ $value | humanizePercentage }} of the requests through {{ $labels.instance }} with 429",
		description: "AWS throttles the calls themselves, not STS. Look at the log lines with status=429 and decision=allowed: caller says whether it is one client that loops, aws_request_id is what AWS support asks for.",
		cases: []example{
			{
				story: "one request of twenty",
				input: []input{{at(requests, `decision="allowed"`, `status="429"`), "0+5x20"}, {at(requests, `decision="allowed"`, `status="200"`), "0+95x20"}},
				early: "4m", at: "18m", fires: about(), figure: "5%",
			},
			{
				story: "all at once, from one scrape to the next, and never before",
				input: []input{{at(requests, `decision="allowed"`, `status="429"`), "_x9 40+0x20"}, {at(requests, `decision="allowed"`, `status="200"`), "0+95x30"}},
				early: "11m", at: "16m", fires: about(), figure: "4.04%",
			},
			{
				story: "rolegate itself refuses a caller who has too much open",
				input: []input{{at(requests, `decision="too_many"`, `status="429"`), "0+5x20"}, {at(requests, `decision="allowed"`, `status="200"`), "0+95x20"}},
				at:    "18m",
			},
			{
				story: "one request of two hundred",
				input: []input{{at(requests, `decision="allowed"`, `status="429"`), "0+1x20"}, {at(requests, `decision="allowed"`, `status="200"`), "0+199x20"}},
				at:    "18m",
			},
			{
				story: "two on a quiet night",
				input: []input{{at(requests, `decision="allowed"`, `status="429"`), "0+0x5 2+0x20"}, {at(requests, `decision="allowed"`, `status="200"`), "0+1x25"}},
				at:    "14m",
			},
		},
	},
	{
		name: "RolegateServerErrors", severity: critical, hold: "5m",
		expr:        "(\n" + share("10m", outcomes, `outcome="failure"`) + "\n) > 0.05\nand " + grown("10m", outcomes, `outcome="failure"`) + " >= 5",
		summary:     "{{ $value | humanizePercentage }} of the requests to {{ $labels.instance }} end in a failure: 5xx, or an answer without its end",
		description: "Look at the requests by decision. unavailable: the identity provider or STS is away. bad_upstream, upstream_timeout: the remote, or a setting at AWS; with status 200 the answer broke off after its headers. internal: a setting, or a mistake of rolegate's. allowed: the remote's own 5xx, or an answer that ended without a response. The log lines of level error have the hint.",
		cases: []example{
			{
				story: "one of five",
				input: []input{{at(outcomes, `outcome="failure"`), "0+5x20"}, {at(outcomes, `outcome="success"`), "0+20x20"}},
				early: "4m", at: "15m", fires: about(), figure: "20%",
			},
			{
				story: "every stream breaks off after its headers, which said 200",
				input: []input{{at(outcomes, `outcome="failure"`), "0+30x20"}, {at(requests, `decision="bad_upstream"`, `status="200"`), "0+30x20"}},
				early: "4m", at: "15m", fires: about(), figure: "100%",
			},
			{
				story: "all at once, from one scrape to the next, and never before",
				input: []input{{at(outcomes, `outcome="failure"`), "_x9 40+0x20"}, {at(outcomes, `outcome="success"`), "0+10x30"}},
				early: "11m", at: "16m", fires: about(), figure: "28.57%",
			},
			{
				story: "callers are refused, tools say that they failed, clients hang up",
				input: []input{{at(outcomes, `outcome="denied"`), "0+50x20"}, {at(outcomes, `outcome="application_error"`), "0+50x20"}, {at(outcomes, `outcome="aborted"`), "0+50x20"}},
				at:    "15m",
			},
			{
				story: "one of thirty",
				input: []input{{at(outcomes, `outcome="failure"`), "0+5x20"}, {at(outcomes, `outcome="success"`), "0+145x20"}},
				at:    "15m",
			},
			{
				story: "one each few minutes of a quiet night",
				input: []input{{at(outcomes, `outcome="failure"`), "0+0x2 1+0x2 2+0x2 3+0x2 4+0x2 5+0x2 6+0x2"}},
				at:    "18m",
			},
		},
	},
	{
		name: "RolegateFallbackSurge", severity: warning, hold: "5m",
		expr: "(\n" + share("30m", choices, `reason="fallback"`) + "\n- on " + alike + " group_left () (\n" + common("1d offset 30m", choices, `reason="fallback"`) +
			" >= 0\nor 0 * (sum by " + alike + " (" + increase("1d offset 30m", choices) + ") > 0)\nor 0 * sum by " + alike + " (" + telemetry.MetricBuildInfo + " offset 1d)\n)\n) > 0.25\nand " +
			grown("30m", choices, `reason="fallback"`) + " >= 5",
		summary:     "the share of callers of {{ $labels.instance }} who get the fallback role is up by {{ $value | humanizePercentage }}",
		description: "That is against all processes of the job the day before. No mapping matches them, as if a claim went missing from the tokens. Look at " + telemetry.MetricRoleClaims + " by state, at why in the log lines of those callers, and at what changed at the identity provider; \"rolegate explain\" tells what a token would get.",
		cases: []example{
			{
				story: "after some quiet hours half of the callers fall back",
				input: []input{
					{at(choices, `reason="mapping"`, `role="arn:aws:iam::123456789012:role/Reader"`), "0+1x360"},
					{at(choices, `reason="fallback"`, `role="arn:aws:iam::123456789012:role/Default"`), "0+0x300 1+1x60"},
				},
				early: "5h14m", at: "5h40m", fires: about(), figure: "46.88%",
			},
			{
				story: "nobody has ever fallen back before, on the first day",
				input: []input{
					{at(choices, `reason="mapping"`, `role="arn:aws:iam::123456789012:role/Reader"`), "0+1x360"},
					{at(choices, `reason="fallback"`, `role="arn:aws:iam::123456789012:role/Default"`), "_x300 1+1x60"},
				},
				at: "5h40m", fires: about(), figure: "46.57%",
			},
			{
				story: "on Monday, after days without anybody",
				input: []input{
					{at(telemetry.MetricBuildInfo, `version="v1"`), "1+0x1860"},
					{at(choices, `reason="mapping"`, `role="arn:aws:iam::123456789012:role/Reader"`), "100+0x1860"},
					{at(choices, `reason="fallback"`, `role="arn:aws:iam::123456789012:role/Default"`), "0+0x1780 1+1x60"},
				},
				at: "30h", fires: about(), figure: "100%",
			},
			{
				story: "half of the callers have always fallen back, and a new version takes over",
				input: []input{
					{newer(choices, "old", `reason="mapping"`, `role="arn:aws:iam::123456789012:role/Reader"`), "0+1x300"},
					{newer(choices, "old", `reason="fallback"`, `role="arn:aws:iam::123456789012:role/Default"`), "0+1x300"},
					{newer(choices, "new", `reason="mapping"`, `role="arn:aws:iam::123456789012:role/Reader"`), "_x300 0+1x100"},
					{newer(choices, "new", `reason="fallback"`, `role="arn:aws:iam::123456789012:role/Default"`), "_x300 0+1x100"},
				},
				at: "5h20m",
			},
			{
				story: "the new version has forgotten a mapping",
				input: []input{
					{newer(choices, "old", `reason="mapping"`, `role="arn:aws:iam::123456789012:role/Reader"`), "0+3x300"},
					{newer(choices, "old", `reason="fallback"`, `role="arn:aws:iam::123456789012:role/Default"`), "0+1x300"},
					{newer(choices, "new", `reason="fallback"`, `role="arn:aws:iam::123456789012:role/Default"`), "_x300 0+4x100"},
				},
				at:    "5h30m",
				fires: map[string]string{"instance": "new:9090", "job": "rolegate", "namespace": "tools", "pod": "new"}, figure: "75%",
			},
			{
				story: "the first hour of all, in which half of the callers fall back",
				input: []input{
					{at(telemetry.MetricBuildInfo, `version="v1"`), "1+0x60"},
					{at(choices, `reason="mapping"`, `role="arn:aws:iam::123456789012:role/Reader"`), "0+0x20 1+1x40"},
					{at(choices, `reason="fallback"`, `role="arn:aws:iam::123456789012:role/Default"`), "0+0x20 1+1x40"},
				},
				at: "45m",
			},
			{
				story: "a matcher fails, and half of the callers are denied: another alert's business",
				input: []input{
					{at(choices, `reason="mapping"`, `role="arn:aws:iam::123456789012:role/Reader"`), "0+1x360"},
					{at(choices, `reason="error"`, `role=""`), "0+0x300 1+1x60"},
				},
				at: "5h40m",
			},
			{
				story: "half of the callers always fall back",
				input: []input{
					{at(choices, `reason="mapping"`, `role="arn:aws:iam::123456789012:role/Reader"`), "0+1x360"},
					{at(choices, `reason="fallback"`, `role="arn:aws:iam::123456789012:role/Default"`), "0+1x360"},
				},
				at: "5h40m",
			},
			{
				story: "three newcomers fall back",
				input: []input{
					{at(choices, `reason="mapping"`, `role="arn:aws:iam::123456789012:role/Reader"`), "100+0x360"},
					{at(choices, `reason="fallback"`, `role="arn:aws:iam::123456789012:role/Default"`), "0+0x300 3+0x60"},
				},
				at: "5h20m",
			},
		},
	},
}
