// feedback: what comes back. Replies are classified, bounces and complaints read and attributed, and one function makes
// of a result what is committed. It writes suppressions as data and never touches the list or the outcome that stands.
export { type Conclude, type ConcludeParts, makeConclude, makeExpire, type Notice } from './conclude.ts'
export { type ConcluderParts, makeConcluder } from './concluder.ts'
export { InboundMail, type InboundMailParts } from './inbound-mail.ts'
export { classifyReplyLine, loadReplyRules, type ReplyInput, ReplyRules } from './replies.ts'
export { parseBounceFile, type Report, type ReportedRecipient, type ReportKind, readReport } from './report.ts'
export { ReportReader } from './report-reader.ts'
export { makeSenderNotice, type SenderNoticeParts } from './sender-notice.ts'
