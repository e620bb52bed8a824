import { expect, test } from 'vitest'
import { withVM } from 'withvm'

test('a guest reboots, powers itself off, starts again and shuts down', async () => {
  await withVM({ image: 'tiny' }, async (vm) => {
    // #region power
    await vm.ssh`touch /root/on-disk /run/in-memory`
    await vm.reboot()
    expect((await vm.ssh`ls /root /run`).stdout).toMatch(/on-disk(?![\s\S]*in-memory)/)

    const ended = vm.wait({ timeout: '60s' })
    await vm.serial.write('poweroff\n')
    expect(await ended).toEqual({ reason: 'guest-shutdown', exitCode: 0 })

    await vm.start()
    await vm.shutdown()
    expect(vm.isRunning).toBe(false)
    // #endregion
  })
})
