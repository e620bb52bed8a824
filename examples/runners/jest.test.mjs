import { expect, jest, test } from '@jest/globals'
import { withVM } from 'withvm'

jest.setTimeout(300_000) // the default of 5 seconds includes the start of the guest

test('the guest runs Linux', async () => {
  await withVM({ image: 'tiny' }, async (vm) => {
    const { stdout } = await vm.ssh`uname -s`
    expect(stdout).toBe('Linux')
  })
})
