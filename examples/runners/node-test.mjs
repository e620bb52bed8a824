import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withVM } from 'withvm'

test('the guest runs Linux', async () => {
  await withVM({ image: 'tiny' }, async (vm) => {
    const { stdout } = await vm.ssh`uname -s`
    assert.equal(stdout, 'Linux')
  })
})
