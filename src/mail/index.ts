// mail: the formats, as pure functions over bytes: addresses, header fields, the completed message, 7-bit content, DKIM
// signatures, return-path tokens, bounces. What it reads is hostile and is read in linear time with limits.
// It knows no store, no configuration, no clock and no log.
export { type AddressOptions, formatAddress, parseAddress, parsePath } from './address.ts'
export { type FeedbackReport, readFeedbackReport } from './arf.ts'
export { type CompleteOptions, completeMessage } from './complete.ts'
export { dkimPublicKey, dkimRecordValue, type GeneratedDkimKey, generateDkimKey, loadDkimKey } from './dkim/keys.ts'
export { signMessage } from './dkim/sign.ts'
export { addressOf } from './dsn/address-of.ts'
export { composeDsn, composeForward, type DsnOptions } from './dsn/compose-dsn.ts'
export { type Part, readHeaders, readParts } from './dsn/mime-tree.ts'
export { decodeWords, encodeWords } from './encoded-words.ts'
export { fieldValue, findField, makeField, prependFields, readFields, removeFields, splitMessage } from './header.ts'
export { type Mailbox, parseMailboxes } from './mailboxes.ts'
export { qualifyAddresses, qualifyFields } from './qualify.ts'
export { mailDate } from './received.ts'
export { type SevenBit, toSevenBit } from './seven-bit.ts'
export type * from './types.ts'
export {
  makeReturnPath,
  type ReturnPathFault,
  type ReturnPathKey,
  type ReturnPathToken,
  readReturnPath,
} from './verp.ts'
