import { chmod, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { certificate, type TempDir, tempDir } from '#world'

/** A directory with the files that the bad configurations name, each with the mode that matters. */
export async function configRoom(): Promise<TempDir> {
  const room = await tempDir()
  const one = await certificate(['mail.example.com'])
  const other = await certificate(['other.example.com'])
  await copyFile(one.certFile, room.join('cert.pem'))
  for (const [name, text, mode] of [
    ['key.pem', one.key, 0o600],
    ['open-key.pem', one.key, 0o644],
    ['other-key.pem', other.key, 0o600],
    ['secret', 'redis://127.0.0.1/0\n', 0o600],
    ['open-secret', 'redis://127.0.0.1/0\n', 0o644],
    ['group-secret', 'AAAA\n', 0o640],
    ['rules.toml', '\n', 0o644],
  ] as const) {
    await writeFile(room.join(name), text)
    await chmod(room.join(name), mode)
  }
  await mkdir(room.join('conf.d'))
  return room
}

/** A bad configuration and what must be said of it: the comment lines `# expect: …` at its top, each an error in order. */
export async function readBad(path: string): Promise<{ readonly toml: string; readonly expected: readonly string[] }> {
  const toml = await readFile(path, 'utf8')
  const expected = toml
    .split('\n')
    .filter((line) => line.startsWith('# expect: '))
    .map((line) => line.slice('# expect: '.length))
  return { toml, expected }
}
