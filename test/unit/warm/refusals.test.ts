import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { findRefusal, noteRefusal } from '../../../src/warm/refusals.js'
import { ownEnv } from '../../support/own-env.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

/** Sets an empty cache for this test. Returns its folder of facts about this host. */
function ownHostCache(): string {
  const cache = ownTmpdir()
  ownEnv({ WITHVM_CACHE: cache })
  return join(cache, 'host')
}

test('a refused template is recorded for a week, with a bounded reason', async () => {
  const host = ownHostCache()
  expect(await findRefusal('none')).toBeUndefined()
  await noteRefusal('some', 'x'.repeat(5000))
  expect(await findRefusal('some')).toBe('x'.repeat(1000))
  const eightDaysAgo = Date.now() - 8 * 24 * 3600 * 1000
  const record = { reason: 'no channel', at: eightDaysAgo }
  writeFileSync(join(host, 'refused-template-old.json'), JSON.stringify(record))
  expect(await findRefusal('old')).toBeUndefined()
})

test('a record that is a FIFO, or invalid, neither blocks a start nor counts', async () => {
  const host = ownHostCache()
  mkdirSync(host)
  execFileSync('mkfifo', [join(host, 'refused-template-fifo.json')])
  writeFileSync(join(host, 'refused-template-list.json'), '[1]')
  writeFileSync(join(host, 'refused-template-part.json'), '{"reason": "x"}')
  for (const name of ['fifo', 'list', 'part']) expect(await findRefusal(name)).toBeUndefined()
})
