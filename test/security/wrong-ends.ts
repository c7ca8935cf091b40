/** Everything that some server somewhere took for the end of data (CVE-2023-51764, -51765, -51766 and their kin). */
export const WRONG_ENDS = [
  '\n.\n',
  '\n.\r\n',
  '\r\n.\n',
  '\r.\r',
  '\r.\r\n',
  '\r\n.\r',
  '\r.\n',
  '\n.\r',
  '\n\n.\n\n',
  '\r\r.\r\r',
  '\n\r.\n\r',
  '\r\n\n.\n\r\n',
  '\r\n.\0\r\n',
  '\r\n\0.\r\n',
  '\r\n.\r\r\n',
  '\r\n. \r\n',
  '\r\n .\r\n',
  '\r\n..\r\n',
  '\r\r\n.\n',
  '\r\n.\n\r\n',
  '\n.\r\r\n',
  '\u0085.\u0085',
] as const

/** What stands behind such an end, for whoever believed in it. */
export const SMUGGLED =
  'MAIL FROM:<app@sender.test>\r\nRCPT TO:<victim@good.test>\r\nDATA\r\nFrom: app@sender.test\r\n\r\nsmuggled'
