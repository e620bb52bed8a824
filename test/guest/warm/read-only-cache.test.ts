import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { launchVM } from 'withvm'
import { ownCache } from '../../support/own-cache.js'

test('a guest boots cold where templates cannot be written, and the reason is reported', async () => {
  const cacheDir = ownCache()
  // Root can write to any folder, but not below a path that is not a folder.
  writeFileSync(join(cacheDir, 'templates'), '')
  const lines: string[] = []
  await using vm = await launchVM({ image: 'tiny', log: (line) => void lines.push(line) })
  expect(vm.startedFrom).toMatchObject({
    kind: 'cold',
    reason: expect.stringContaining('is not writable'),
  })
  expect(lines.join('\n')).toContain('Fix: Set WITHVM_CACHE to a folder that this user can write to.')
})
