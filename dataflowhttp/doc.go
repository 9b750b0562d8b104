// Package dataflowhttp has dataflow's endpoints as http.Handlers, to be mounted
// in the service's own server.
//
// # The heartbeat
//
// A started client looks for work all the time. [Heartbeat] is for what looks
// from outside: cron, a Kubernetes CronJob, the timer of a serverless platform. A
// POST makes one round: it puts back runs whose workers have died, turns the due
// ticks of schedules into runs, and works the runs that are due. It makes the same
// claims as started clients do, so that both may be used together, and several
// callers at once, and each run is worked once.
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
// A request needs no body; one is read and ignored. The token is in the header
// X-Heartbeat-Token, or in Authorization as a Bearer token; if the first is there,
// the second is not looked at, because a platform in front of the service may need
// it for itself. A token in the URL is not taken, because URLs are logged. Send
// tokens over TLS only.
//
// To change a token, give Tokens the old and the new one, change the callers, and
// take the old one out.
//
// # Waiting
//
// Without more, the answer comes at once, and the runs are worked behind it.
// ?wait=30s, or a number of seconds, waits until they have ended, for up to
// [HeartbeatOptions].MaxWait. The wait bounds the answer and never the runs: they
// go on when it is over, and when the caller hangs up.
//
// Wait where the platform takes the CPU away from a process that serves no request,
// as serverless ones do. There the runs would stand still behind the answer, lose
// their leases, and be taken up by the next beat as if their worker had died. Let
// the wait be as long as runs take, and shorter than the time after which the
// platform, a proxy or the caller gives up. A server's WriteTimeout does not end a
// wait.
//
// Runs that River works, those with a queue in the answer, are not waited for.
//
// # Answers
//
// All are JSON.
//
//	{"fired":1,"skipped":0,"rescued":0,"due":1,"runs":[{"id":7,"flow":"orders","trigger":"schedule","state":"pending"}]}
//
// fired counts the runs that schedules have started in this round, skipped the
// ticks that became none, rescued the runs that were put back because their
// worker had died, and due the runs that this process works. runs lists those that
// were started or are worked. Who waits gets their counters, too, and, with
// [HeartbeatOptions].ShowErrors, the error of their last attempt.
//
//   - 202: the round is made, and its runs are being worked; after a wait: some
//     still are.
//   - 200, after a wait only: none is worked any more. Their states say how they
//     have ended; a run that is pending is tried again later, or handed back because
//     the service stops. A run that has failed is no error of the request.
//   - 400: the query or the body cannot be read. No round was made; so it is with
//     all that follow.
//   - 401: no token, or a wrong one.
//   - 403: the caller's address is not on AllowedIPs, whatever token it shows.
//   - 405: the method is not POST.
//   - 413: the body is larger than MaxBody.
//   - 429: more than MaxPerMinute requests, or more than 10 wrong tokens in a minute
//     from this address, or from this /64 of IPv6. Such an address is not served
//     with the right token either, until the time in Retry-After is over.
//   - 500: the round could not be made, or not to its end: the database cannot be
//     reached, say. The log has the error, the answer has not. To call again does
//     no harm.
//   - 503: the client is stopped. Another process may serve.
//
// Errors are {"error":"…"}, and hold nothing of what is inside. Each request that is
// not served is logged as a warning with the caller's address, the peer's, the
// method and the reason, and never with a token.
//
// # Behind a proxy
//
// All requests that come through a proxy have the proxy's address. Name it in
// [HeartbeatOptions].TrustedProxies; then the caller is who stands in the header
// X-Forwarded-For, read from the right, behind all proxies that are trusted. What
// is further left was sent by the caller, and could be anything. The header of a
// peer that is not trusted is ignored, and so is the header Forwarded, always. A
// proxy must add the address from which it was called, as they all do unless they
// are told otherwise; one that passes the header on as it is must not be trusted.
//
// If a trusted proxy writes something else than an address, such as "unknown", the
// caller's address is unknown, and with AllowedIPs such a request is not served.
// Nor is one over a Unix socket, which has no address.
//
// A proxy that is not named is the one caller of all its requests. Then anybody
// behind it who shows wrong tokens keeps everybody behind it out, for as long as
// he goes on. AllowedIPs limits this to those who are on it, because an address
// that is not allowed has no guesses.
package dataflowhttp
