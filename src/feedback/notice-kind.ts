import { addressOf, decodeWords, type Part } from '#mail'

// What kind of mail came back, when no field says so: by who writes, by its subject, by the words that such mail uses.

/** Words are looked for as far as here. */
const MAX_WORDS = 20_000

const AUTO_SUBJECT =
  /^\W{0,3}(re:\s*|aw:\s*|fwd?:\s*)?(auto(matic|matische|matisch|matica|mática|matique|mat)?[\s-]?(reply|response|responder|antwort|risposta|respuesta|svar|answer)|auto:|automatic|automated response|autoreply|autoresponse|autosvar|out of (the )?office|out[- ]of[- ]office|ooo\b|vacation|on holiday|holiday|away from|away:|i am away|i'm away|on (annual |sick |maternity |paternity |parental )?leave|abwesen|abwesend|ich bin im urlaub|absence|absent|réponse automatique|rép\.? auto|respuesta automática|fuera de (la )?oficina|ausente|risposta automatica|fuori ufficio|assente|resposta automática|fora do escritório|ausência|afwezig|frånvar|fraværende|poissa|nieobecn|poza biurem|automatyczna|mimo kancelář|házon kívül|автоответ|нет на месте|в отпуске|自動返信|自动回复|自動回覆|不在|부재중)/iu
const BOUNCE_SUBJECT =
  /undeliver|deliver(y|ed)? (status|fail|problem|error|report|has failed|incomplete)|delivery to |returned (mail|to sender)|return(ing|ed) (mail|message|e-?mail) to sender|returning (message|mail)|failure notice|mail (delivery|system) |mail (failure|failed|error)|failed mail|message failed|(message|mail|e-?mail) (could |can )?not (be )?(delivered|sent)|message status|non[- ]?deliver|not been delivered|failed delivery|failed to deliver|unable to deliver|cannot deliver|couldn'?t be delivered|smtp server: errors from|unzustellbar|nicht zugestellt|zustellung|nicht zustellbar|non remis|n'a pas (pu )?(être|été) (remis|délivré)|échec|echec|non délivr|no se (ha )?(pud|pued)|no entregad|devuelto|mancata consegna|non consegnat|impossibile (recapitare|consegnare)|não entreg|não (foi|pôde)|devolvid|returned email|returned message|bounce|rejected|blocked by our|warning: (could not|message)|delayed mail|delivery delayed|delay(ed)? (notification|warning)|delivery notification|niet (af)?geleverd|onbestelbaar|kunde inte levereras|kunne ikke leveres|niedostarczon|nie dostarczon|nedoruč|配信|エラー|不達|退信|无法投递|投递失败|недостав|не доставл|не удалось|반송/iu
const BOUNCE_SENDER =
  /mailer[-_. ]?daemon|postmaster|mail delivery|maildeliverysystem|mail system|mail administrator|system administrator|noreply-mail|delivery (subsystem|service|system|status)|mdaemon|mmdf|microsoftexchange|mailsystem|mail-?daemon|système de messagerie|mail-zustellsystem|exchange system/iu
/** What notices say in their text when the subject is of no help. */
const BOUNCE_WORDS =
  /(could|can|was|were|has|have|can') ?not (be|been)? ?(delivered|able to deliver|reached|sent)|unable to deliver|undeliver|delivery (to the following|has failed|failed|failure)|failed to deliver|couldn't be delivered|wasn't able to deliver|permanent (fatal )?error|failed permanently|returned (mail|to you|because)|mail has been returned|did not reach|not delivered|following address(es)? (had|failed)|(was|were|been) (rejected|refused)|not accepted|did not exactly match|unknown (user|recipient)|user unknown|non(-| )?remis|n'a pas pu être|nicht zugestellt|nicht zustellen|no (se )?pud|no ha podido|não (foi|pôde|pode) (ser )?entregue|não foi possível|non è stato (consegnato|possibile)|impossibile consegnare|niet (worden )?(af)?(ge)?leverd|niet bezorgd|не может быть доставлен|не было доставлен|не удалось доставить|送信できません|配信できません|配送できません|届けることができません|无法投递|被退回|退信原因|投递失败/iu
const DELAY_WORDS =
  /(will|we.?ll|shall) (keep|continue) (trying|to try)|still being (tried|retried)|will (be (re)?tried|try again|retry)|delivery (attempts )?will (continue|be)|delayed mail|message (is|has been|still) (being )?delayed|(delivery|message) (is|has been) delayed|(has not|hasn't) been delivered yet|continue to be attempted|warning message only|not need to resend|not need to send|do not resend|not been delivered (yet|within)|delivery status notification \(delay\)|not yet been delivered|not yet delivered|wird weiter versucht|noch nicht zugestellt|sera (encore )?retent|seguir[áa] intentando|continuer[àa] a tentare/iu
const FINAL_WORDS =
  /permanent|giving up|given up|final failure|gave up|failed (permanently|after)|will not (be )?(try|retr)/i
const CHALLENGE_WORDS =
  /(confirm|verify) (that )?you(r (message|mail|e-?mail|address|identity)| are (a )?(human|real|not|the))|click (on )?(the|this) (link|url|button) (below )?(to|and) (confirm|deliver|release|verify|be added)|sender verification|spam ?arrest|boxbe|mailblocks|\btmda\b|challenge[- ]response|challenge message|please confirm your (message|email|mail|e-mail) |one-time (confirmation|verification|inconvenience)|(held|holding|retained|quarantined) .{0,60}(confirm|verif|authenticat|permission)|has not been verified|(to release|release) your (message|mail|e-?mail)|senders? i have approved|approved senders|approve you as|not (yet )?(on|in) my (list|white|allowed|approved)|added to my (list|allowed|white|approved|address)|unverified sender|ficou retida|confirme (o|seu|sua|que|para)|para que seja entregue|absender bestätig|bestätigen sie|confirmez votre|confirmar su|conferma il tuo/iu
const CHALLENGE_SUBJECT =
  /^\W{0,3}(re: )?(please |kindly )?(confirm|verify|authenticate)|\bchallenge|confirmation (required|needed)/i
const FINAL_FOR_CHALLENGE = /permanent|fatal|undeliver/i

/** Parcels are not delivered either. */
const ABOUT_MAIL =
  /(^|\D)[45]\d\d[ -]|[45]\.\d\.\d|\b(smtp|mailbox|inbox|recipients?|mail server|mail system|e-?mail address|user unknown|unknown user|quota|destinataires?|empfänger|destinatari[oa]s?|postfach|boîte|buzón)\b|получател|адрес|收件人|邮箱|宛先|メールアドレス/iu
const ANSWER_SUBJECT = /^\s{0,3}(re|aw|antw|sv|vs|fw|fwd|wg|tr|rv|rif|odp|res|enc)\s?(\[\d{1,3}\])?\s?:/iu
const SUCCESS_WORDS =
  /success(ful|fully) (mail )?(deliver|relay|post)|successful delivery|successfully (been )?(delivered|relayed|sent)|relayed; expect no further|return receipt|delivered to the (recipient|destination|mailbox)|erfolgreich (zugestellt|ausgeliefert)|remis avec succès|entregado correctamente/iu
const FAILURE_WORDS = /fail|permanent|could not|not (be )?deliver|undeliver|unable|unknown|reject|refus|[45]\.\d\.\d/i
const NULL_PATH = /^<>$/

export function subjectOf(top: Part): string {
  return decodeWords(readable(top.headers.get('subject') ?? ''))
}

/** Fields are read as Latin-1; some writers put UTF-8 into them as it is. */
export function readable(value: string): string {
  if (!/[\u0080-\u00ff]/.test(value)) return value
  const text = Buffer.from(value, 'latin1').toString('utf8')
  return text.includes('\ufffd') ? value : text
}

/** A mail system says that it could not deliver; a person's automatic answer that quotes one does not. */
export function isBounce(top: Part, text: string, hasOriginal: boolean): boolean {
  const said = text.slice(0, MAX_WORDS)
  const subject = subjectOf(top)
  const spoken = BOUNCE_SUBJECT.test(subject)
  if (CHALLENGE_WORDS.test(said) && !FINAL_FOR_CHALLENGE.test(said)) return false
  if (isDaemon(top)) return spoken || BOUNCE_WORDS.test(said)
  if (AUTO_SUBJECT.test(subject) || isOfPeople(top)) return false
  if (/auto-replied/i.test(top.headers.get('auto-submitted') ?? '') && !spoken) return false
  return (
    (spoken || (hasOriginal && hasNullPath(top))) && BOUNCE_WORDS.test(said) && (hasOriginal || ABOUT_MAIL.test(said))
  )
}

/** Who answers, passes on or writes to a list speaks of bounces at most; and no notice has an envelope sender (RFC 5321 §4.5.5). */
function isOfPeople(top: Part): boolean {
  const path = top.headers.get('return-path')
  if (path !== undefined && !NULL_PATH.test(path) && !BOUNCE_SENDER.test(path)) return true
  return ANSWER_SUBJECT.test(subjectOf(top)) || top.headers.has('list-unsubscribe') || top.headers.has('list-id')
}

function hasNullPath(top: Part): boolean {
  return NULL_PATH.test(top.headers.get('return-path') ?? '')
}

/** Without any words that are known: a mail without sender (RFC 3464 §2) that gives its reader a mail of its own back. */
export function isReturned(top: Part, original: ReadonlyMap<string, string> | null): boolean {
  if (!NULL_PATH.test(top.headers.get('return-path') ?? '') || original === null) return false
  if (AUTO_SUBJECT.test(subjectOf(top))) return false
  const reader = addressOf(top.headers.get('to') ?? '').toLowerCase()
  return reader.includes('@') && addressOf(original.get('from') ?? '').toLowerCase() === reader
}

/** A mail system by its name, or one that has none. */
export function isDaemon(top: Part): boolean {
  const from = readable(top.headers.get('from') ?? '')
  return BOUNCE_SENDER.test(from) || from === '<>'
}

/** Somebody's own automatic answer, whatever it quotes. */
export function isAutomaticAnswer(top: Part): boolean {
  return AUTO_SUBJECT.test(subjectOf(top)) && !isDaemon(top)
}

/** It arrived, and somebody had asked to be told. */
export function isSuccess(top: Part, text: string): boolean {
  const said = `${subjectOf(top)}\n${text.slice(0, MAX_WORDS)}`
  return SUCCESS_WORDS.test(said) && !FAILURE_WORDS.test(said)
}

/** Not over yet. */
export function isDelay(top: Part, text: string): boolean {
  const said = `${subjectOf(top)}\n${text.slice(0, MAX_WORDS)}`
  return DELAY_WORDS.test(said) && !FINAL_WORDS.test(said)
}

/** What a mail is that is no notice. */
export function kindOfOther(top: Part, text: string): 'challenge' | 'auto-reply' | 'other' {
  const { headers } = top
  const automatic =
    /auto-(replied|generated)/i.test(headers.get('auto-submitted') ?? '') ||
    /auto_reply/i.test(headers.get('precedence') ?? '') ||
    ['x-autoreply', 'x-autorespond', 'x-autoresponder', 'x-auto-response-suppress'].some((name) => headers.has(name))
  const nullPath = NULL_PATH.test(headers.get('return-path') ?? '')
  // Ordinary mail may speak of confirmations, too: a challenge is automatic, or about nothing else.
  const asking = automatic || nullPath || isDaemon(top) || CHALLENGE_SUBJECT.test(subjectOf(top))
  if (asking && CHALLENGE_WORDS.test(`${subjectOf(top)}\n${text.slice(0, MAX_WORDS)}`)) return 'challenge'
  return AUTO_SUBJECT.test(subjectOf(top)) || automatic ? 'auto-reply' : 'other'
}
