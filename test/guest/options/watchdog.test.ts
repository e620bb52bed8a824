import { expect, test } from 'vitest'
import { launchVM } from 'withvm'

test.concurrent('a guest that does not feed its watchdog is reset', async () => {
  await using vm = await launchVM({ image: 'tiny', watchdog: true, standby: false, log: () => {} })
  const from = vm.serial.mark()
  await vm.ssh`modprobe wdat_wdt`
  expect((await vm.ssh`cat /sys/class/watchdog/watchdog0/identity`).stdout).toBe('wdat_wdt')
  // A process that closes the device without writing `V` counts as hung.
  await vm.ssh`echo started >/dev/watchdog`
  expect((await vm.ssh`cat /sys/class/watchdog/watchdog0/state`).stdout).toBe('active')
  await vm.serial.waitFor(/withvm: sshd/, { from, timeout: '200s' })
  await vm.ssh`[ ! -e /dev/watchdog ]` // no driver is loaded after the reset
}, 480_000)

test.concurrent('a stopped watchdog does not reset its guest', async () => {
  await using vm = await launchVM({
    image: 'tiny',
    watchdog: { action: 'pause' },
    standby: false,
    log: () => {},
  })
  await vm.ssh`modprobe wdat_wdt && printf V >/dev/watchdog`
  await new Promise((resolve) => setTimeout(resolve, 35_000))
  expect((await vm.ssh`cat /sys/class/watchdog/watchdog0/state`).stdout).toBe('inactive')
})
