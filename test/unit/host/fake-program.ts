import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

/** Creates a directory that all users can access. It is removed after the test. */
export function makeTemporaryDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'withvm-host-'))
  chmodSync(dir, 0o777)
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

/** Writes an executable shell script. */
export function writeProgram(path: string, script: string): string {
  writeFileSync(path, `#!/bin/sh\n${script}\n`)
  chmodSync(path, 0o755)
  return path
}

/** Creates a PATH of one folder that contains only these programs. */
export function makePath(dir: string, programs: Readonly<Record<string, string>>): string {
  const folder = join(dir, 'path')
  mkdirSync(folder, { recursive: true })
  for (const [name, target] of Object.entries(programs)) symlinkSync(target, join(folder, name))
  return folder
}
