import { EX, Fault } from '#base'

/** Rows and what is derived from them say different things: mail could be lost without a word, so nothing begins. */
export function disagrees(what: string): Fault {
  return new Fault(`the store is damaged: ${what}`, {
    code: 'damaged-store',
    field: 'data_dir',
    remedy:
      'Restore the whole data_dir from a backup, or run relevo db accept-loss, which sets aside what cannot be believed; relevo db check tells more.',
    exitCode: EX.DATAERR,
  })
}
