import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

/** A directory that everybody may use and that is gone after the test. */
export function makeTemporaryDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'withvm-host-'))
  chmodSync(dir, 0o777)
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

/** A small real executable: a shell script. */
export function writeProgram(path: string, script: string): string {
  writeFileSync(path, `#!/bin/sh\n${script}\n`)
  chmodSync(path, 0o755)
  return path
}

/** A PATH of one folder that has these programs and nothing else. */
export function makePath(dir: string, programs: Readonly<Record<string, string>>): string {
  const folder = join(dir, 'path')
  mkdirSync(folder, { recursive: true })
  for (const [name, target] of Object.entries(programs)) symlinkSync(target, join(folder, name))
  return folder
}
