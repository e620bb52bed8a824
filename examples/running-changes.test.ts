import { withVM } from 'withvm'
import { expect, test } from 'withvm/vitest'

test('devices are plugged and unplugged, and keys are pressed, while the guest runs', async () => {
  await withVM({ image: 'tiny', hotplug: true, vga: 'std' }, async (vm) => {
    // #region plug
    const disk = await vm.plug.disk({ size: '64M', serial: 'extra' })
    await vm.waitFor.file('/dev/vdb')
    await vm.throttle(disk, { iops: 200, bps: '10M' })
    await disk.unplug()

    await using card = await vm.plug.card({ mac: '52:54:00:aa:bb:cc' })
    await vm.waitFor.file('/sys/class/net/eth1')
    await vm.setLink(false, { card })
    // #endregion

    // #region display
    await vm.press('ctrl-alt-f2')
    await vm.type('ls /etc\n', { layout: 'us' })
    const png = await vm.screenshot()
    // #endregion
    expect(png.subarray(1, 4).toString()).toBe('PNG')

    // #region shown
    await expect(vm).toShowText(/Booting from \w+/) // OCR by tesseract
    await expect(vm).toMatchScreenshot('firmware', { mask: [{ x: 0, y: 0, width: 720, height: 32 }] })
    // #endregion

    // #region memory
    const { pss, shared } = await vm.memory()
    // #endregion
    expect(pss).toBeGreaterThan(0)
    expect(shared).toBeGreaterThan(0)
  })
})
