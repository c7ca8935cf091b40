// delivery: one attempt, from a claimed recipient to a typed outcome: where the mail goes, the connection, the dialogue.
// The dispatcher claims from the queue and settles into it; routing says which provider, reputation how fast.
// It never decides what a bounce means for the address, and never says "delivered" without a reply that was due.
export type { AttemptParts, ConcludeContext, Concluder, SendTimeSuppression } from './attempt.ts'
export { type Cage, Carrier, deadlinesOf } from './carry.ts'
export type { Classified, Destination, ProviderRef, RecipientResult, Reply, Stage, TryTrace } from './contract.ts'
export { askServer, nameServers } from './direct/ask-server.ts'
export { Destinations } from './direct/destinations.ts'
export { Resolver } from './direct/resolver.ts'
export { Dispatcher, type DispatcherOptions } from './dispatcher.ts'
export { checkAddress, isOwnAddress } from './guarded-connect.ts'
export { checkSmarthost } from './health-check.ts'
export { Pool } from './pool.ts'
export { nextDueMs, type RetryQuestion } from './retry.ts'
export { Signer } from './sign.ts'
export type { KeptMail } from './sink/kept-mail.ts'
export { type Endpoint, openSink, type Sink, type SinkOptions } from './sink/open-sink.ts'
export { connectSmtp } from './smtp-client/connect.ts'
export type { ConnectOptions, ConnectResult, Deadlines, SmtpConnection, TlsMode } from './smtp-client/contract.ts'
