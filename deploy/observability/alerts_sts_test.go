package observability_test

var ofSTS = []alert{
	{
		name: "RolegateSTSFailing", severity: critical, hold: "5m",
		expr: "(\n" + share("10m", calls, `code!~"ok|`+callersFail+`|AccessDenied|Throttling"`) + "\n) > 0.1\nand " +
			grown("10m", calls, `code!~"ok|`+callersFail+`|AccessDenied|Throttling"`) + " >= 3",
		summary:     "{{ $value | humanizePercentage }} of the STS calls from {{ $labels.instance }} fail",
		description: "Callers without live credentials are refused. Look at the calls by code: network and timeout are the way to STS; InvalidIdentityToken is the OIDC provider in IAM; ValidationError and RegionDisabled are settings. The hint in the log lines with sts=miss says more.",
		cases: []example{
			{
				story: "one call of five gets no answer",
				input: []input{{at(calls, `code="network"`), "0+1x30"}, {at(calls, `code="ok"`), "0+4x30"}},
				early: "3m", at: "20m", fires: about(), figure: "20%",
			},
			{
				story: "none gets through, of a process that never had another answer",
				input: []input{{at(calls, `code="InvalidIdentityToken"`), "0+1x30"}},
				at:    "20m", fires: about(), figure: "100%",
			},
			{
				story: "all at once, from one scrape to the next, of a process that had no failure before",
				input: []input{{at(calls, `code="network"`), "_x9 40+0x20"}, {at(calls, `code="ok"`), "0+4x30"}},
				early: "11m", at: "16m", fires: about(), figure: "50%",
			},
			{
				story: "tokens expire on the way, trust policies refuse, STS throttles: other alerts' business or none's",
				input: []input{
					{at(calls, `code="ExpiredToken"`), "0+9x30"},
					{at(calls, `code="AccessDenied"`), "0+9x30"},
					{at(calls, `code="Throttling"`), "0+9x30"},
					{at(calls, `code="ok"`), "0+1x30"},
				},
				at: "20m",
			},
			{
				story: "one call of twenty",
				input: []input{{at(calls, `code="network"`), "0+1x30"}, {at(calls, `code="ok"`), "0+19x30"}},
				at:    "20m",
			},
			{
				story: "two failures on a quiet night",
				input: []input{{at(calls, `code="network"`), "0+0x9 2+0x20"}},
				at:    "15m",
			},
		},
	},
	{
		name: "RolegateCredentialsNotRefreshed", severity: critical, hold: "1m",
		expr:        unrenewed + " < 300",
		summary:     "credentials on {{ $labels.instance }} end in {{ $value | humanizeDuration }}, and are not refreshed",
		description: "They are in use, and refreshes of them are tried and fail; when they are a minute from their end, their users are refused. Look at the log for \"refresh of credentials failed\", which names role, region and code, and at the STS calls by code.",
		cases: []example{
			{
				story: "refreshes began twelve minutes before the end, and all fail",
				input: []input{
					{at(unrenewed), "720-60x11"},
					{at(events, refreshFailed), "0 3 4 5 5 6 6 6 7 7 8 8"},
					{at(events, `event="hit"`), "0+60x12"},
				},
				early: "8m", at: "9m", fires: about(), figure: "3m 0s",
			},
			{
				story: "one who has gone home has credentials that run out, and then another one; a refresh of a third one's failed once",
				input: []input{
					{at(nextExpiry), "290-60x3 290-60x3 290-60x3"},
					{at(events, refreshFailed), "0+0x4 1+0x7"},
					{at(events, `event="refresh"`), "9+0x4 11+0x7"},
					{at(events, `event="hit"`), "0+60x12"},
				},
				at: "7m",
			},
			{
				story: "two refreshes failed, and the next one did not",
				input: []input{{at(unrenewed), "280 stale"}, {at(nextExpiry), "280-60x1 3600-60x10"}, {at(events, refreshFailed), "2+0x12"}},
				at:    "2m",
			},
			{
				story: "refreshes fail, and there is time",
				input: []input{{at(unrenewed), "720-60x11"}, {at(events, refreshFailed), "0+1x12"}},
				at:    "6m",
			},
		},
	},
	{
		name: "RolegateRoleNotLent", severity: warning, hold: "5m",
		expr:        "(\n" + share("15m", calls, `code="AccessDenied"`) + "\n) > 0.2\nand " + grown("15m", calls, `code="AccessDenied"`) + " >= 3",
		summary:     "{{ $value | humanizePercentage }} of the STS calls from {{ $labels.instance }} are refused with AccessDenied",
		description: "A role's trust policy does not let tokens in: their callers get 403. Look at the log lines with decision=denied: role names the role, hint what its trust policy must say.",
		cases: []example{
			{
				story: "a trust policy was changed",
				input: []input{{at(calls, `code="AccessDenied"`), "0+1x30"}, {at(calls, `code="ok"`), "0+1x30"}},
				early: "5m", at: "25m", fires: about(), figure: "50%",
			},
			{
				story: "all at once, from one scrape to the next, and never before",
				input: []input{{at(calls, `code="AccessDenied"`), "_x9 40+0x20"}, {at(calls, `code="ok"`), "0+1x30"}},
				early: "11m", at: "16m", fires: about(), figure: "72.73%",
			},
			{
				story: "one user of many",
				input: []input{{at(calls, `code="AccessDenied"`), "0+1x30"}, {at(calls, `code="ok"`), "0+9x30"}},
				at:    "25m",
			},
			{
				story: "two refusals, and no other call",
				input: []input{{at(calls, `code="AccessDenied"`), "0+0x9 2+0x20"}},
				at:    "20m",
			},
		},
	},
	{
		name: "RolegateSTSThrottled", severity: warning, hold: "0m",
		expr:        grown("10m", calls, `code="Throttling"`) + " >= 3",
		summary:     "AWS throttles the STS calls from {{ $labels.instance }}",
		description: "Calls were given up after three attempts; users without live credentials get 503 for some seconds. Look at misses among the cache events: one per user, role, replica and hour is right. Then at who else in the account calls STS in that region.",
		cases: []example{
			{
				story: "STS throttles",
				input: []input{{at(calls, `code="Throttling"`), "0+1x20"}, {at(calls, `code="ok"`), "0+9x20"}},
				at:    "12m", fires: about(),
			},
			{
				story: "all at once, from one scrape to the next, and never before",
				input: []input{{at(calls, `code="Throttling"`), "_x9 40+0x20"}, {at(calls, `code="ok"`), "0+9x30"}},
				at:    "10m", fires: about(),
			},
			{
				story: "all that, half an hour ago",
				input: []input{{at(calls, `code="Throttling"`), "_x9 40+0x40"}, {at(calls, `code="ok"`), "0+9x50"}},
				at:    "40m",
			},
			{
				story: "one call was throttled",
				input: []input{{at(calls, `code="Throttling"`), "0+0x5 1+0x20"}, {at(calls, `code="ok"`), "0+9x20"}},
				at:    "12m",
			},
		},
	},
}
