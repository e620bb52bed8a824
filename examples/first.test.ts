// #region first
import { expect, test } from 'vitest'
import { withVM } from 'withvm'

test('a synced file survives a power cut', async () => {
  await withVM({ image: 'tiny' }, async (vm) => {
    await vm.ssh`echo ${"it's here"} > /root/note && sync`
    await vm.powerCut()
    await vm.start()
    const { stdout } = await vm.ssh`cat /root/note`
    expect(stdout).toBe("it's here")
  })
})
// #endregion
