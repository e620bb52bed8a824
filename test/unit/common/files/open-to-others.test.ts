import { chmodSync, chownSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { isOpenToOthers } from '../../../../src/common/files/open-to-others.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'

test.each([
  { mode: 0o755, gid: 12_345, isOpen: true },
  { mode: 0o711, gid: 12_345, isOpen: true },
  { mode: 0o700, gid: 12_345, isOpen: false },
  { mode: 0o750, gid: 12_345, isOpen: false },
  { mode: 0o750, gid: 54_321, isOpen: true },
])(
  'others can enter a folder below one with mode $mode, user 12345 and group $gid: $isOpen',
  ({ mode, gid, isOpen }) => {
    const parent = ownTmpdir()
    const dir = join(parent, 'cache')
    mkdirSync(dir, { mode: 0o755 })
    chownSync(parent, 12_345, gid)
    chmodSync(parent, mode)
    expect(isOpenToOthers(dir)).toBe(isOpen)
  },
)
