// #region first
import { expect, test } from 'vitest'
import { withVM } from 'withvm'

test('the guest runs Linux', async () => {
  await withVM({ image: 'tiny' }, async (vm) => {
    const { stdout } = await vm.ssh`uname -s`
    expect(stdout).toBe('Linux')
  })
})
// #endregion
