import { existsSync } from 'node:fs'

/**
 * Whether a program or module of a Debian package is there to give a second opinion. When it is missing: with
 * RELEVO_TEST_ALL=1 the test fails and says what to install, otherwise one line says what was left out.
 * @param t the tap test (only `fail` and `comment` are used)
 * @param path a file the package brings
 */
export function hasDebianOracle(
  t: { fail(message: string): void; comment(message: string): void },
  debianPackage: string,
  path: string,
): boolean {
  if (existsSync(path)) return true
  const remedy = `remedy: apt-get install ${debianPackage}`
  if (process.env.RELEVO_TEST_ALL === '1') t.fail(`${debianPackage} is needed as a second opinion (${remedy})`)
  else t.comment(`left out: the opinion of ${debianPackage} (${remedy})`)
  return false
}
