import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { launchVM } from 'withvm'
import { ownCache } from '../../support/own-cache.js'

test('a guest boots cold where templates cannot be written, and the reason is reported', async () => {
  const cacheDir = ownCache()
  // Root may write to any folder, but not where there is none.
  writeFileSync(join(cacheDir, 'templates'), '')
  const lines: string[] = []
  await using vm = await launchVM({ image: 'tiny', log: (line) => void lines.push(line) })
  expect(vm.startedFrom).toMatchObject({
    kind: 'cold',
    reason: expect.stringContaining('nothing can be written to'),
  })
  expect(lines.join('\n')).toContain('Fix: Point WITHVM_CACHE at a folder that this user may write to.')
})
