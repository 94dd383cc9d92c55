package fake

import (
	"fmt"
	"strings"
)

// TrustPolicy is the tutorial's trust policy, filled in for this world's provider.
func (w *World) TrustPolicy() string {
	issuer := w.IDP.URL()
	_, bare, _ := strings.Cut(issuer, "://")
	return fmt.Sprintf(`{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Principal": {
        "Federated": %q
      },
      "Action": "sts:AssumeRoleWithWebIdentity",
      "Condition": {
        "StringEquals": {
          %q: %q
        }
      }
    }
  ]
}
`, w.STS.ProviderARN(issuer), bare+":aud", Audience)
}

// Documents are the tutorial's two documents, filled in: the role of step 3 and the one of the matcher example, and
// the proxy of step 4 in front of this world's server. Three lines are not the tutorial's: insecureAllowHTTP, because
// this world's issuer has no TLS, and the http:// addresses of issuer and remote.
func (w *World) Documents() string { return w.ExternalAuthConfig() + "---\n" + w.RemoteProxy() }

// ExternalAuthConfig is the MCPExternalAuthConfig of Documents.
func (w *World) ExternalAuthConfig() string {
	return fmt.Sprintf(`apiVersion: toolhive.stacklok.dev/v1alpha1
kind: MCPExternalAuthConfig
metadata:
  name: aws-mcp-sts-auth
  namespace: toolhive-system
spec:
  type: awsSts
  awsSts:
    region: %s
    # SigV4 service name for the AWS MCP Server
    service: %s

    # Default role when no role mapping matches
    fallbackRoleArn: >-
      %s

    # Map JWT claims to IAM roles (lower priority = evaluated first)
    roleMappings:
      - claim: s3-readers
        roleArn: >-
          %s
        priority: 10
      - matcher: '"admins" in claims["groups"] && claims["org"] == "engineering"'
        roleArn: %s
        priority: 1
`, w.region, w.service, DefaultRole, S3Role, AdminRole)
}

// RemoteProxy is the MCPRemoteProxy of Documents.
func (w *World) RemoteProxy() string {
	return fmt.Sprintf(`apiVersion: toolhive.stacklok.dev/v1alpha1
kind: MCPRemoteProxy
metadata:
  name: aws-mcp-proxy
  namespace: toolhive-system
spec:
  remoteURL: %s

  # Reference the AWS STS auth config from Step 3
  externalAuthConfigRef:
    name: aws-mcp-sts-auth

  # OIDC configuration for validating incoming client tokens
  oidcConfig:
    type: inline
    # Public URL of this proxy's MCP endpoint, advertised to clients
    # via WWW-Authenticate so they can discover your OIDC provider.
    resourceUrl: %s
    inline:
      issuer: %s
      audience: %s
      insecureAllowHTTP: true

  proxyPort: %d
  transport: streamable-http

  audit:
    enabled: true

  resources:
    limits:
      cpu: '500m'
      memory: 512Mi
    requests:
      cpu: 100m
      memory: 128Mi
`, w.RemoteURL(), w.resourceURL, w.IDP.URL(), Audience, w.port)
}
