import { expect, test } from 'vitest'
import { parseRollup } from '../../../../src/vm/session/memory-use.js'

test('`smaps_rollup` is parsed into bytes', () => {
  const rollup = `55-7f ---p 00000000 00:00 0   [rollup]
Rss:                4100 kB
Pss:                 743 kB
Pss_Anon:            623 kB
Shared_Clean:       3080 kB
Shared_Dirty:        712 kB
Private_Clean:         8 kB
Private_Dirty:       300 kB
`
  expect(parseRollup(rollup)).toEqual({
    rss: 4100 * 1024,
    pss: 743 * 1024,
    shared: 3792 * 1024,
    private: 308 * 1024,
  })
})
