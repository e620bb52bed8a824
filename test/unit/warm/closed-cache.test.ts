import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { findClosedCache } from '../../../src/warm/start-warm.js'
import { ownEnv } from '../../support/own-env.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

test('a guest boots cold if the user of `runAs` cannot be given access to the cache', async () => {
  const cache = join(ownTmpdir(), 'cache')
  writeFileSync(cache, '')
  ownEnv({ WITHVM_CACHE: cache })
  const user = { name: 'other', uid: 12_345, gid: 12_345, hasGroups: false, home: '/', setpriv: 'setpriv' }
  expect(await findClosedCache({ user })).toMatch(
    /^the user 'other' of `runAs` cannot be given access to .*\/templates: ENOTDIR/,
  )
})
