// Notices of mail systems that write for people, without the fields of RFC 3464: one sample a family, written for the tests in
// the form that the family uses. `who` failed (or is late), `hard` as the notice says it.

export type FamilySample = {
  readonly family: string
  readonly from: string
  readonly subject: string
  readonly text: string
  readonly who: readonly string[]
  readonly hard: boolean | null
  readonly kind?: 'bounce' | 'delay'
  readonly head?: readonly string[]
}

const DAEMON = 'Mail Delivery Subsystem <MAILER-DAEMON@mx.carrier.example>'
const ANA = ['ana@town.example']
const ENCLOSED = `

Received: from app.sending.example (app.sending.example [192.0.2.20])
	by mx.carrier.example with ESMTP id 4711
From: Shop <shop@sending.example>
To: Ana <ana@town.example>
Subject: Your order
Message-ID: <order-17@sending.example>

Thank you, write to help@sending.example.
`

export const FAMILIES: readonly FamilySample[] = [
  {
    family: 'qmail, several recipients',
    from: 'MAILER-DAEMON@mx.carrier.example',
    subject: 'failure notice',
    text: `Hi. This is the qmail-send program at mx.carrier.example.
Your message did not get to these addresses, and I stop here.

<ana@town.example>:
192.0.2.9 does not like recipient.
Remote host said: 550 5.1.1 no such user
Giving up on 192.0.2.9.

<ben@town.example>:
user is over quota

--- Below this line is a copy of the message.
${ENCLOSED}`,
    who: ['ana@town.example', 'ben@town.example'],
    hard: true,
  },
  {
    family: 'qmail, no such host',
    from: 'MAILER-DAEMON@mx.carrier.example',
    subject: 'failure notice',
    text: `Hi. This is the qmail-send program at mx.carrier.example.

<ana@town.example>:
Sorry, I couldn't find any host named town.example. (#5.1.2)

--- Below this line is a copy of the message.
${ENCLOSED}`,
    who: ANA,
    hard: true,
  },
  {
    family: 'vpopmail',
    from: 'MAILER-DAEMON@mx.carrier.example',
    subject: 'failure notice',
    text: `Hi. This is the qmail-send program at mx.carrier.example.

<ana@town.example>:
Sorry, no mailbox here by that name. vpopmail (#5.1.1)

--- Below this line is a copy of the message.
${ENCLOSED}`,
    who: ANA,
    hard: true,
  },
  {
    family: 'Exim with its header',
    from: 'Mail Delivery System <Mailer-Daemon@mx.carrier.example>',
    subject: 'Mail delivery failed: returning message to sender',
    head: ['X-Failed-Recipients: ana@town.example,', '  ben@town.example', 'Auto-Submitted: auto-replied'],
    text: `This message was created automatically by mail delivery software.

A message that you sent could not be delivered to all of its recipients.
The following address(es) failed:

  ana@town.example
    host mx.town.example [192.0.2.9]
    SMTP error from remote mail server after RCPT TO:<ana@town.example>:
    550 5.1.1 <ana@town.example>: Recipient address rejected: User unknown
  ben@town.example
    host mx.town.example [192.0.2.9]
    SMTP error from remote mail server after RCPT TO:<ben@town.example>:
    552 5.2.2 mailbox is full

------ This is a copy of the message, including all the headers. ------
${ENCLOSED}`,
    who: ['ana@town.example', 'ben@town.example'],
    hard: true,
  },
  {
    family: 'Exim without its header',
    from: 'Mail Delivery System <Mailer-Daemon@mx.carrier.example>',
    subject: 'Mail delivery failed: returning message to sender',
    text: `A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  ana@town.example
    Unrouteable address

------ This is a copy of the message, including all the headers. ------
${ENCLOSED}`,
    who: ANA,
    hard: true,
  },
  {
    family: 'Exim, late',
    from: 'Mail Delivery System <Mailer-Daemon@mx.carrier.example>',
    subject: 'Warning: message 1abcde-000001-AB delayed 24 hours',
    text: `A message that you sent has not yet been delivered to one or more of its
recipients after more than 24 hours on the queue on mx.carrier.example.

The address to which the message has not yet been delivered is:

  ana@town.example

No action is required on your part. Delivery attempts will continue for
some time.
`,
    who: ANA,
    hard: null,
    kind: 'delay',
  },
  {
    family: 'Postfix, text only',
    from: 'MAILER-DAEMON@mx.carrier.example (Mail Delivery System)',
    subject: 'Undelivered Mail Returned to Sender',
    text: `This is the mail system at host mx.carrier.example.

Your message is back, it could not reach everybody.

                   The mail system

<ana@town.example>: host mx.town.example[192.0.2.9] said: 550 5.1.1
    <ana@town.example>: Recipient address rejected: User unknown in virtual
    mailbox table (in reply to RCPT TO command)
<ben@town.example>: connect to mx.town.example[192.0.2.9]:25: Connection
    timed out
${ENCLOSED}`,
    who: ['ana@town.example', 'ben@town.example'],
    hard: true,
  },
  {
    family: 'Sendmail, text only',
    from: DAEMON,
    subject: 'Returned mail: see transcript for details',
    text: `The original message was received at Mon, 2 Mar 2026 10:00:00 +0000
from app.sending.example [192.0.2.20]

   ----- The following addresses had permanent fatal errors -----
<ana@town.example>
    (reason: 550 5.1.1 <ana@town.example>... User unknown)

   ----- Transcript of session follows -----
... while talking to mx.town.example.:
>>> DATA
<<< 550 5.1.1 <ana@town.example>... User unknown
550 5.1.1 <ana@town.example>... User unknown
<<< 503 5.0.0 Need RCPT (recipient)

   ----- Original message follows -----
${ENCLOSED}`,
    who: ANA,
    hard: true,
  },
  {
    family: 'Sendmail of old, transcript only',
    from: DAEMON,
    subject: 'Returned mail: Host unknown',
    text: `   ----- Transcript of session follows -----
550 <ana@town.example>... Host unknown (Name server: town.example: host not found)
554 <ben@town.example>... User unknown

   ----- Unsent message follows -----
${ENCLOSED}`,
    who: ['ana@town.example', 'ben@town.example'],
    hard: true,
  },
  {
    family: 'Sendmail, late',
    from: DAEMON,
    subject: 'Warning: could not send message for past 4 hours',
    text: `    **********************************************
    **      THIS IS A WARNING MESSAGE ONLY      **
    **  YOU DO NOT NEED TO RESEND YOUR MESSAGE  **
    **********************************************

The original message was received at Mon, 2 Mar 2026 10:00:00 +0000

   ----- Transcript of session follows -----
<ana@town.example>... Deferred: Connection refused by mx.town.example.
Warning: message still undelivered after 4 hours
Will keep trying until message is 5 days old
`,
    who: ANA,
    hard: null,
    kind: 'delay',
  },
  {
    family: 'Exchange 5.5',
    from: 'System Administrator <postmaster@carrier.example>',
    subject: 'Undeliverable: Your order',
    text: `Your message

  To:      sales@elsewhere.example
  Subject: Your order
  Sent:    Mon, 2 Mar 2026 10:00:00 -0000

did not reach the following recipient(s):

c=DE;a= ;p=Carrier;o=Berlin;dda:SMTP=ana@town.example; on Mon, 2 Mar 2026
10:00:02 -0000
    The recipient name is not recognized
	The MTS-ID of the original message is: c=de;a= ;p=carrier
    MSEXCH:IMS:Carrier:BERLIN:POST 0 (000C05A6) Unknown Recipient
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'Exchange 2003',
    from: 'System Administrator <postmaster@carrier.example>',
    subject: 'Undeliverable: Your order',
    text: `Your message did not reach some or all of the intended recipients.

      Subject:	Your order
      Sent:	3/2/2026 10:00 AM

The following recipient(s) could not be reached:

      ana@town.example on 3/2/2026 10:00 AM
            The e-mail account does not exist at the organization this message was sent to.  Check the e-mail address, or contact the recipient directly.
            <mx.carrier.example #5.1.1>
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'Exchange Online, text only',
    from: 'Microsoft Outlook <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@carrier.example>',
    subject: 'Undeliverable: Your order',
    text: `Your message to ana@town.example couldn't be delivered.

ana wasn't found at town.example.

shop  Office 365  ana
Action Required   Recipient

Unknown To address

Original Message Details
Created Date: 3/2/2026 10:00:00 AM
Sender Address: shop@sending.example
Recipient Address: ana@town.example
Subject: Your order

Error Details
Reported error: 550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient ana@town.example not found by SMTP address lookup
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'Domino',
    from: 'Postmaster@carrier.example',
    subject: 'DELIVERY FAILURE: User ana (ana@town.example) not listed in Domino Directory',
    text: `Your message

  Subject: Your order

was not delivered to:

  ana@town.example

because:

  User ana (ana@town.example) not listed in Domino Directory
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'GroupWise',
    from: 'Mailer-Daemon@carrier.example',
    subject: 'Message status - undeliverable',
    text: `The attached file had the following undeliverable recipient(s):
	ana@town.example (user not found)
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'MDaemon',
    from: 'MDaemon@carrier.example',
    subject: 'Permanent Delivery Failure',
    text: `The following message had permanent delivery errors.

  ----- Recipients -----
Failed address: ana@town.example

--- Session Transcript ---
Mon 2026-03-02 10:00:00: Attempting SMTP connection to [192.0.2.9:25]
Mon 2026-03-02 10:00:00: <-- 220 mx.town.example ESMTP
Mon 2026-03-02 10:00:01: --> RCPT To:<ana@town.example>
Mon 2026-03-02 10:00:01: <-- 550 5.1.1 User unknown
--- End Transcript ---
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'MailEnable',
    from: 'Postmaster@carrier.example',
    subject: 'Message Delivery Failure',
    text: `MailEnable: Message Delivery Failure.

Message could not be delivered to some recipients.
The following recipient(s) could not be reached:

	Recipient: [SMTP:ana@town.example]
	Reason: Remote server said: 550 Requested action not taken: mailbox unavailable

Message headers follow:
${ENCLOSED}`,
    who: ANA,
    hard: true,
  },
  {
    family: 'CommuniGate Pro',
    from: 'MAILER-DAEMON@carrier.example',
    subject: 'Undeliverable mail: Your order',
    text: `Failed to deliver to 'ana@town.example'
SMTP module(domain town.example) reports:
 host mx.town.example says:
 550 5.1.1 unknown user
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'Courier',
    from: '"Courier mail server at carrier.example" <MAILER-DAEMON@carrier.example>',
    subject: 'NOTICE: mail delivery status.',
    text: `This is a delivery status notification from carrier.example,
running the Courier mail server.

The original message was received on Mon, 2 Mar 2026 10:00:00 +0000
from app.sending.example (app.sending.example [192.0.2.20])

---------------------------------------------------------------------------

                           UNDELIVERABLE MAIL

Your message to the following recipients cannot be delivered:

<ana@town.example>:
    mx.town.example [192.0.2.9]:
>>> RCPT TO:<ana@town.example>
<<< 550 User unknown.

---------------------------------------------------------------------------
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'MMDF',
    from: 'Mail Delivery System <mmdf@carrier.example>',
    subject: 'Failed mail (msg.aa00123)',
    text: `Your message could not be delivered to
'ana@town.example (host: town.example) (queue: smtp)' for the following
reason:  ' unknown user'

Your message follows:
${ENCLOSED}`,
    who: ANA,
    hard: true,
  },
  {
    family: 'Smail',
    from: '<MAILER-DAEMON@carrier.example>',
    subject: 'mail failed, returning to sender',
    text: `|------------------------- Message log follows: -------------------------|
 no valid recipients were found for this message
|------------------------- Failed addresses follow: ---------------------|
 <ana@town.example> ... unknown host
|------------------------- Message text follows: ------------------------|
${ENCLOSED}`,
    who: ANA,
    hard: true,
  },
  {
    family: 'Yahoo',
    from: 'MAILER-DAEMON@carrier.example',
    subject: 'Failure Notice',
    text: `Sorry, we were unable to deliver your message to the following address.

<ana@town.example>:
Remote host said:
550 5.1.1 <ana@town.example>... User Unknown
[RCPT_TO]

--- Below this line is a copy of the message.
${ENCLOSED}`,
    who: ANA,
    hard: true,
  },
  {
    family: 'GMX',
    from: 'GMX Mailer Daemon <mailer-daemon@carrier.example>',
    subject: 'Mail delivery failed: returning message to sender',
    text: `This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of
its recipients. This is a permanent error. The following address
failed:

"ana@town.example":
SMTP error from remote server after RCPT command:
host: mx.town.example
5.1.1 <ana@town.example>: User unknown


--- The header of the original message is following. ---
${ENCLOSED}`,
    who: ANA,
    hard: true,
  },
  {
    family: 'Google of old',
    from: 'Mail Delivery Subsystem <mailer-daemon@googlemail.example>',
    subject: 'Delivery Status Notification (Failure)',
    text: `Delivery to the following recipient failed permanently:

     ana@town.example

Technical details of permanent failure:
Google tried to deliver your message, but it was rejected by the server for the recipient domain town.example by mx.town.example. [192.0.2.9].

The error that the other server returned was:
550 5.1.1 <ana@town.example>... User unknown

----- Original message -----
${ENCLOSED}`,
    who: ANA,
    hard: true,
  },
  {
    family: 'KDDI',
    from: 'Postmaster@carrier.example',
    subject: 'Mail System Error - Returned Mail',
    text: `The user(s) account is disabled.

<ana@town.example>: 550 user unknown (in reply to RCPT TO command)

--Reporting-MTA: dns
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'KDDI, refused by another host',
    from: 'no-reply@carrier.example',
    subject: 'Mail System Error - Returned Mail',
    text: `Each of the following recipients was rejected by a remote mail server.

    Recipient: <ana@town.example>
    >>> RCPT TO:<ana@town.example>
    <<< 550 <ana@town.example>: User unknown
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'Zoho',
    from: 'mailer-daemon@mail.zoho.example',
    subject: 'Undelivered Mail Returned to Sender',
    text: `This message was created automatically by mail delivery software.
 A message that you sent could not be delivered to one or more of its recipients. This is a permanent error.

ana@town.example Invalid Address, ERROR_CODE :550, ERROR_CODE :5.1.1 unknown recipient

Received:from mail.zoho.example by mx.zoho.example
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'mail.ru',
    from: 'Mail Delivery System <mailer-daemon@carrier.example>',
    subject: '=?utf-8?B?0J3QtdC00L7RgdGC0LDQstC70LXQvdC90L7QtSDQv9C40YHRjNC80L4=?=',
    text: `Это письмо создано автоматически сервером.

К сожалению, Ваше письмо не может быть доставлено получателю:

ana@town.example
  такого пользователя нет: Пользователь не найден

------ This is a copy of your message, including all the headers. ------
${ENCLOSED}`,
    who: ANA,
    hard: true,
  },
  {
    family: '163',
    from: 'Postmaster@carrier.example',
    subject: '系统退信',
    text: `抱歉，您的邮件被退回来了……

原邮件信息：
　收件人：ana@town.example
退信原因：
　邮件地址不存在，用户不存在
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'PMDF and iPlanet',
    from: 'PMDF e-Mail Interconnect <postmaster@carrier.example>',
    subject: 'Delivery Notification: Delivery has failed',
    text: `This report relates to a message you sent with the following header fields:

  Message-id: <order-17@sending.example>
  Date: Mon, 02 Mar 2026 10:00:00 +0000
  From: Shop <shop@sending.example>
  To: everybody@sending.example
  Subject: Your order

Your message cannot be delivered to the following recipients:

  Recipient address: ana@town.example
  Reason: Illegal user or mailbox name found: no such user
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'IMail',
    from: '"Postmaster" <postmaster@carrier.example>',
    subject: 'Undeliverable Mail',
    text: `Unknown user: ana@town.example


Original message follows.
${ENCLOSED}`,
    who: ANA,
    hard: true,
  },
  {
    family: 'InterScan',
    from: 'InterScan <postmaster@carrier.example>',
    subject: 'Mail could not be delivered',
    text: `Sent <<< RCPT TO:<ana@town.example>
Received >>> 550 5.1.1 unknown user
Unable to deliver message to <ana@town.example>.
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'McAfee',
    from: 'Mail Delivery System <postmaster@carrier.example>',
    subject: 'DELIVERY ERROR',
    text: `  --- The following addresses had delivery problems ---

<ana@town.example>   (User unknown ana@town.example)
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'Biglobe',
    from: 'Mail Delivery Subsystem <postmaster@carrier.example>',
    subject: 'Returned mail: mailbox',
    text: `   ----- The following addresses had delivery problems -----
ana@town.example

   ----- Non-delivered information -----
The number of messages in recipient's mailbox exceeded the local limit.

   ----- Unsent message follows -----
${ENCLOSED}`,
    who: ANA,
    hard: false,
  },
  {
    family: 'hMailServer',
    from: 'mailer-daemon@carrier.example',
    subject: 'Message undeliverable: Your order',
    text: `Your message did not reach some or all of the intended recipients.

   Sent: Mon, 2 Mar 2026 10:00:00 +0000
   Subject: Your order

The following recipient(s) could not be reached:

ana@town.example
   Error Type: SMTP
   Remote server (192.0.2.9) issued an error.
   hMailServer sent: RCPT TO:<ana@town.example>
   Remote server replied: 550 5.1.1 No such user here

hMailServer
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'SmarterMail',
    from: '"System Administrator" <system@carrier.example>',
    subject: 'Delivery Failure',
    text: `Could not deliver message to the following recipient(s):

Failed Recipient: ana@town.example
Reason: Remote host said: 550 No such user here

   -- The header and top 20 lines of the message follows --
${ENCLOSED}`,
    who: ANA,
    hard: true,
  },
  {
    family: 'James',
    from: 'postmaster@carrier.example',
    subject: 'Re:Your order',
    head: ['Return-Path: <>'],
    text: `Hi. This is the James mail server at carrier.example.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.  Below
I include the list of recipients and the reason why I was unable to deliver
your message.

Failed recipient(s):
ana@town.example

Error message:
550 5.1.1 unknown user
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'OpenSMTPD',
    from: 'Mailer Daemon <MAILER-DAEMON@carrier.example>',
    subject: 'Delivery status notification: error',
    text: `    Hi!

    This is the MAILER-DAEMON, please DO NOT REPLY to this email.

    An error has occurred while attempting to deliver a message for
    the following list of recipients:

ana@town.example: 550 5.1.1 <ana@town.example>: user unknown

    Below is a copy of the original message:
${ENCLOSED}`,
    who: ANA,
    hard: true,
  },
  {
    family: 'IceWarp',
    from: 'MAILER-DAEMON@carrier.example',
    subject: 'Delivery Failure Notification',
    text: `The message could not be delivered.

Recipient: <ana@town.example>
Reason:    5.1.1 <ana@town.example> User unknown; rejecting

Please resolve the issues and try sending the message again.
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'Kerio',
    from: 'Mail Delivery Subsystem <postmaster@carrier.example>',
    subject: 'Delivery Status: Your order',
    text: `Your message could not be delivered to the following recipients:
<ana@town.example>
Reason: 550 5.1.1 User unknown
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'SurgeMail',
    from: 'MAILER-DAEMON@carrier.example (Postmaster)',
    subject: 'Failed mail (ana@town.example)',
    text: `Your message cannot be delivered to the following recipients:

  ana@town.example
      Remote system error, 550 mailbox not found

Your message headers follow
${ENCLOSED}`,
    who: ANA,
    hard: true,
  },
  {
    family: 'Barracuda',
    from: 'MAILER-DAEMON@carrier.example',
    subject: '**Message you sent blocked by our bulk email filter**',
    text: `Your message to: ana@town.example
was blocked by our Spam Firewall. The email you sent with the following subject has NOT BEEN DELIVERED:

Subject: Your order
`,
    who: ANA,
    hard: false,
  },
  {
    family: 'Mimecast',
    from: 'Mail Delivery System <postmaster@carrier.example>',
    subject: '[Postmaster] Email Delivery Failure',
    text: `
Email Delivery Failure

This is a delivery failure notification message indicating that an email you addressed to email address :

-- ana@town.example

could not be delivered. The problem appears to be :

-- Recipient email address is possibly incorrect

Additional information follows :

-- 5.1.1 User Unknown
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'French',
    from: 'Système de messagerie <postmaster@carrier.example>',
    subject: 'Non remis : Your order',
    text: `Votre message n'a pas pu être remis aux destinataires suivants :

ana@town.example

Le serveur distant a répondu : 550 5.1.1 Adresse inconnue
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'German',
    from: 'Mail-Zustellsystem <mailer-daemon@carrier.example>',
    subject: 'Unzustellbar: Your order',
    text: `Ihre Nachricht konnte an folgende Empfänger nicht zugestellt werden:

ana@town.example
  Das Postfach existiert nicht: Empfänger unbekannt
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'Spanish',
    from: 'Administrador del sistema <postmaster@carrier.example>',
    subject: 'No se puede entregar: Your order',
    text: `No se pudo entregar el mensaje a los siguientes destinatarios:

ana@town.example
  El buzón está lleno (cuota excedida)
`,
    who: ANA,
    hard: false,
  },
  {
    family: 'Italian',
    from: 'Postmaster <postmaster@carrier.example>',
    subject: 'AVVISO DI MANCATA CONSEGNA: Your order',
    text: `Il messaggio non è stato consegnato al destinatario "ana@town.example"

errore: 5.1.1 - indirizzo non valido, utente sconosciuto
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'Japanese',
    from: 'MAILER-DAEMON@carrier.example',
    subject: '=?utf-8?B?6YWN5L+h44Ko44Op44O8?=',
    text: `次の宛先へのメールは配信できませんでした。

<ana@town.example>
このユーザーは存在しません。
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'Portuguese',
    from: 'Sistema de correio <postmaster@carrier.example>',
    subject: 'Não entregue: Your order',
    text: `Sua mensagem não foi entregue aos seguintes destinatários:

ana@town.example
  usuário inexistente
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'by the enclosed original only',
    from: DAEMON,
    subject: 'Undeliverable mail',
    text: `This message could not be delivered: user unknown.

----- Original message -----
${ENCLOSED}`,
    who: ANA,
    hard: true,
  },
  {
    family: 'Amazon WorkMail',
    from: 'MAILER-DAEMON@carrier.example',
    subject: 'Delivery Status Notification (Failure)',
    text: `An error occurred while trying to deliver the mail to the following recipients:
ana@town.example

Technical report:

550 5.1.1 user unknown
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'iCloud and others, a list of refusals',
    from: 'Mail Administrator <Postmaster@carrier.example>',
    subject: 'Mail System Error - Returned Mail',
    text: `This Message was undeliverable due to the following reason:

Each of the following recipients was rejected by a remote mail server.
The reasons given by the server are included to help you determine why
each recipient was rejected.

    Recipient: <ana@town.example>
    Reason:    5.1.1 <ana@town.example>... User unknown


Please reply to <Postmaster@carrier.example>
if you feel this message to be in error.
`,
    who: ANA,
    hard: true,
  },
  {
    family: 'never reached',
    from: 'Mail Administrator <Postmaster@carrier.example>',
    subject: 'Mail System Error - Returned Mail',
    text: `This Message was undeliverable due to the following reason:

Your message was not delivered because the destination computer was
not reachable within the allowed queue period.

Your message was not delivered within 5 days.
Host town.example is not responding.

The following recipients did not receive this message:

     <ana@town.example>

Please reply to <Postmaster@carrier.example>
if you feel this message to be in error.
`,
    who: ANA,
    hard: false,
  },
]
