// queue: the hub. Keeps every accepted message until each of its recipients is settled; intake puts in, delivery
// claims and settles, control lists and steers. It imports no stage and never decides where or how mail is sent.
export * from './contract.ts'
