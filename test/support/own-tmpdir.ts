import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

/** A folder of the test's own for runs, so that what is left in it is of this test. Removed when the test ends. */
export function ownTmpdir(): string {
  const folder = mkdtempSync(join(tmpdir(), 'wt-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
