import { join } from 'node:path'
import { loadReplyRules, type ReplyRules } from '#feedback'
import type { Args } from './args.ts'
import { loadFor } from './load-config.ts'
import type { Io } from './verb.ts'

const SHIPPED = join(import.meta.dirname, '../../config/replies.toml')

/** The rules that the daemon of this configuration classifies by. */
export async function replyRules(args: Args, io: Io): Promise<ReplyRules> {
  const { config } = await loadFor(args, io, false)
  return loadReplyRules(config.rules.replies_file || SHIPPED)
}
