import { beforeAll } from 'vitest'
import { launchVM, type VM } from 'withvm'
import { expect, test } from 'withvm/vitest'
import { resolveImage } from '../../../src/image/resolve-image.js'

beforeAll(async () => {
  await resolveImage('debian')
}, 900_000)

/** Waits until the boot is complete, and requires that it has logged no errors. */
async function expectCleanLogs(vm: VM): Promise<void> {
  await vm.waitFor.command('systemctl is-system-running', { prints: 'running', timeout: '3m' })
  await expect(vm).toHaveCleanJournal()
  await expect(vm).toHaveCleanKernelLog()
}

test('debian logs no errors after a cold boot, a reboot and a power cut', async () => {
  await using vm = await launchVM({ image: 'debian', start: 'cold', log: () => {} })
  await expectCleanLogs(vm)
  await vm.reboot()
  await expectCleanLogs(vm)
  await vm.powerCut()
  await vm.start()
  await expectCleanLogs(vm)
}, 900_000)

test('debian logs no errors after a warm start, also of a standby', async () => {
  const kinds: string[] = []
  while (!kinds.includes('standby') && kinds.length < 4) {
    await using vm = await launchVM({ image: 'debian', standby: true, log: () => {} })
    kinds.push(vm.startedFrom.kind)
    await expectCleanLogs(vm)
    // A clone requests its lease one second after its start, and a standby is prepared meanwhile.
    await expect(vm).toHaveLogged(/DHCPv4 address/, { unit: 'systemd-networkd', timeout: '2m' })
    await expectCleanLogs(vm)
  }
  expect(kinds[0]).toBe('template')
  expect(kinds.at(-1)).toBe('standby')
}, 900_000)

test('matchers of logs read the journal of debian, with units, levels and marks', async () => {
  await using vm = await launchVM({ image: 'debian', standby: false, log: () => {} })
  const since = await vm.markLogs()
  await vm.ssh`logger -t demo -p user.err broken; echo '<3>demo: failed' >/dev/kmsg`
  await vm.ssh`systemd-run -q --unit=speaker sh -c 'sleep 1; echo ready on port 80; echo "<4>slow"'`
  await expect(vm).toHaveLogged(/^broken$/, { since, level: 'err' })
  await expect(vm).toHaveLogged(/^demo: failed$/, { since, level: 'err', within: '5m' })
  await expect(vm).not.toHaveLogged('broken', { since, level: 'crit' })
  expect(await vm.waitFor.log(/^ready on port (\d+)/, { unit: 'speaker' })).toMatchObject({
    message: 'ready on port 80',
    level: 'info',
    source: expect.stringMatching(/^sh\[\d+\]$/),
  })
  await expect(vm).not.toHaveLogged('broken', { unit: 'speaker' })
  await expect(vm).not.toHaveCleanJournal({ since })
  await expect(vm).not.toHaveCleanKernelLog({ since })
  await expect(vm).toHaveCleanJournal({ since, allow: ['broken', /demo: failed/] })
  await expect(vm).toHaveCleanJournal({ unit: 'speaker' })
  await expect(vm).not.toHaveCleanJournal({ unit: 'speaker', level: 'warning' })
  const later = await vm.markLogs()
  await expect(vm).toHaveCleanJournal({ since: later })
  await expect(vm).toHaveCleanKernelLog({ since: later })
  await expect(vm).not.toHaveLogged('broken', { since: later })
}, 600_000)
