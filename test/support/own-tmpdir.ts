import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

/** Makes a folder for the runs of this test, so that leftovers in it are its own. It is removed at the end of the test. */
export function ownTmpdir(): string {
  const folder = mkdtempSync(join(tmpdir(), 'wt-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
