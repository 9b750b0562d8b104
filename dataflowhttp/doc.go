// Package dataflowhttp provides dataflow's endpoints as http.Handlers, to mount in the
// service's own server.
//
// [API] shows flows and runs as JSON, and acts on them. [Notify] tells others, by a webhook, that
// runs have ended.
//
// # The heartbeat
//
// A started client looks for work all the time. [Heartbeat] is for callers from outside:
// cron, a Kubernetes CronJob, the timer of a serverless platform. A POST makes one round:
//
//   - it puts back runs whose workers have died;
//   - it turns the due ticks of schedules into runs;
//   - it works the runs that are due.
//
// It claims runs as started clients do. So several callers and started clients may work
// together, and each run is worked once.
//
//	beat, err := dataflowhttp.Heartbeat(client, &dataflowhttp.HeartbeatOptions{
//		Tokens: []string{os.Getenv("HEARTBEAT_TOKEN")}, // openssl rand -hex 32
//	})
//	mux.Handle("/heartbeat", beat)
//
// The client's flows must be registered, by client.Start or client.Register.
//
// # Calling it
//
// By hand:
//
//	curl -X POST -H "X-Heartbeat-Token: $HEARTBEAT_TOKEN" https://example.com/heartbeat
//
// From a crontab, each minute. The file holds the whole header, so that the token
// is not in the list of processes:
//
//	*/1 * * * * curl -sS --fail --retry 2 -o /dev/null -X POST -H @/etc/heartbeat.header https://example.com/heartbeat
//
// From Kubernetes, with the same file as the key "header" of a Secret:
//
//	apiVersion: batch/v1
//	kind: CronJob
//	metadata: {name: heartbeat}
//	spec:
//	  schedule: "* * * * *"
//	  concurrencyPolicy: Forbid
//	  jobTemplate:
//	    spec:
//	      backoffLimit: 0
//	      template:
//	        spec:
//	          restartPolicy: Never
//	          containers:
//	          - name: heartbeat
//	            image: curlimages/curl
//	            args: [-sS, --fail, -X, POST, -H, "@/etc/heartbeat/header", "http://orders/heartbeat?wait=50s"]
//	            volumeMounts: [{name: token, mountPath: /etc/heartbeat, readOnly: true}]
//	          volumes:
//	          - name: token
//	            secret: {secretName: heartbeat}
//
// A request needs no body; a body is read and ignored. The token is in the header
// X-Heartbeat-Token, or in Authorization as a Bearer token. X-Heartbeat-Token takes
// precedence, because a platform in front of the service may need Authorization for
// itself. A token in the URL is ignored, because URLs are logged. Send tokens only over
// TLS.
//
// To change a token, set Tokens to the old and the new one, change the callers, and
// remove the old one.
//
// # Waiting
//
// By default the response is sent at once, and the runs are worked after it. ?wait=30s,
// or a number of seconds, waits until they have ended, for up to
// [HeartbeatOptions].MaxWait. The wait limits the response, never the runs: they continue
// after the wait, and after the caller hangs up.
//
// Use a wait on a platform that takes the CPU away from a process without a request, as
// serverless platforms do. Without a wait, the runs would stop after the response and
// lose their leases, and the next beat would treat their worker as dead. Make the wait as
// long as the runs take, and shorter than the timeouts of the platform, the proxies and
// the caller. A server's WriteTimeout does not end a wait.
//
// The endpoint does not wait for runs that River works. They have a queue in the response.
//
// # Responses
//
// All responses are JSON.
//
//	{"fired":1,"skipped":0,"rescued":0,"due":1,"runs":[{"id":7,"flow":"orders","trigger":"schedule","state":"pending"}]}
//
// The fields of a round are
//
//   - fired: the number of runs that schedules started in this round;
//   - skipped: the number of ticks that started no run;
//   - rescued: the number of runs that were put back because their worker had died;
//   - due: the number of runs that this process works;
//   - runs: the runs that were started or are being worked.
//
// With a wait, runs have their counters and, with [HeartbeatOptions].ShowErrors, the error
// of their last attempt.
//
// The statuses are
//
//   - 202: the round was made, and its runs are being worked. After a wait it means that
//     some runs still are.
//   - 200, only after a wait: no run is being worked any more. Their states are final,
//     except for pending: such a run is retried later, or was handed back because the
//     service stops. A failed run is no error of the request.
//   - 400: the query or the body is invalid. For this status and for 401 to 429, no round
//     was made.
//   - 401: no token, or a wrong one.
//   - 403: the caller's address is not in AllowedIPs, whatever its token.
//   - 405: the method is not POST.
//   - 413: the body is larger than MaxBody.
//   - 429: more than MaxPerMinute requests, or more than 10 wrong tokens in a minute from
//     this address, or from its /64 of IPv6. After too many wrong tokens, the address is
//     refused even with the right token, until the time in Retry-After has passed.
//   - 500: the round failed or is incomplete, for example because the database cannot be
//     reached. The error is in the log, not in the response. Repeating the request does
//     no harm.
//   - 503: the client is stopped. Another process may serve.
//
// Errors are {"error":"…"}, without internals. Each refused request is logged as a warning
// with the caller's address, the peer's address, the method and the reason, and never with
// a token.
//
// # Behind a proxy
//
// All requests through a proxy have the proxy's address. List the proxy in
// [HeartbeatOptions].TrustedProxies. Then the caller is the rightmost address in the
// header X-Forwarded-For that is not a trusted proxy. The addresses further left were sent
// by the caller, and may be forged. The header of a peer that is not trusted is ignored.
// The header Forwarded is always ignored.
//
// A trusted proxy must add the address from which it was called. Proxies do this by
// default. A proxy that passes the header on unchanged must not be trusted.
//
// If a trusted proxy writes something other than an address, such as "unknown", the
// caller's address is unknown. With AllowedIPs such a request is refused, and so is one
// over a Unix socket, which has no address.
//
// A proxy that is not listed counts as the caller of all its requests. Then one client
// with wrong tokens locks out all clients of the proxy, as long as it continues. AllowedIPs
// limits this to the listed addresses, because only they may try a token.
package dataflowhttp
