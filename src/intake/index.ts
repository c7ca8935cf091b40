// intake: a message comes in. Submission over SMTP and HTTP, who may hand in what, and the one place that says "250";
// also the listener for what comes back. It never sends, and answers nothing as kept before the queue has committed it.
export {
  type Accepted,
  type AcceptingQueue,
  Acceptor,
  type AcceptorDeps,
  type AcceptorOptions,
  type KnownDomains,
  type Submission,
} from './accept.ts'
export { type Credential, Credentials, type NewCredential } from './credentials.ts'
export { type HttpSubmitDeps, httpSubmit } from './http-submit.ts'
export { type InboundDeps, type InboundKind, InboundServer } from './inbound.ts'
export type { Refusal } from './refusal.ts'
export type { TlsMaterial } from './smtp/session-server.ts'
export { type LocalSubmission, type SubmissionDeps, SubmissionServer } from './submission.ts'
export { maySendAs, type Submitter } from './submitter.ts'
export { type SuppressionCheck, type SuppressionEntry, suppressionText } from './suppression-check.ts'
export { type NewToken, type Token, Tokens } from './tokens.ts'
