import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { launchVM, type VM, withVM } from 'withvm'
import { hashFile } from '../../../src/cache/entry-manifest.js'
import { withWaitLimit } from '../../../src/common/wait-limit.js'
import { failureOf } from '../../support/failure-of.js'
import { ownTemplates, templatesIn } from '../../support/own-templates.js'

const log = () => {}
const options = { image: 'tiny', standby: false, log } as const

/** Returns the identity of a guest as seen in the guest. */
async function identify(vm: VM): Promise<Record<string, string>> {
  const facts = {
    machineId: 'cat /etc/machine-id',
    mac: 'cat /sys/class/net/eth0/address',
    hostKey:
      'cd /run; for key in withvm/host-key credentials/@system/withvm.dropbear_host_key; do [ -f $key ] && dropbearkey -y -f $key | grep ssh-ed25519; done; true',
    authorizedKeys: 'grep ssh /root/.ssh/authorized_keys',
    random: 'head -c 16 /dev/urandom | xxd -p',
    bootId: 'cat /proc/sys/kernel/random/boot_id',
    linkLocal: 'until ip -6 addr show dev eth0 | grep -o "fe80[^ ]*"; do usleep 50000; done',
  }
  const found: Record<string, string> = {}
  for (const [name, command] of Object.entries(facts)) found[name] = (await vm.ssh(command)).stdout
  return found
}

test('the first guest of a kind is booted and saved as a template; later guests are clones', async () => {
  const cacheDir = ownTemplates()
  await using first = await launchVM(options)
  await using second = await launchVM(options)
  const [template] = templatesIn(cacheDir)
  const name = template?.split('/').at(-1)
  expect(first.startedFrom).toEqual({ kind: 'template', template: name, buildMs: expect.any(Number) })
  expect(second.startedFrom).toEqual({ kind: 'template', template: name, buildMs: undefined })
  expect(templatesIn(cacheDir)).toHaveLength(1)
})

test('a test with much less time than the recorded boot of its guest fails before the guest is booted', async () => {
  const cacheDir = ownTemplates() // the durations of boots are shared with the test above
  const error = await failureOf(
    withWaitLimit(
      () => 200,
      () => launchVM(options),
    ),
  )
  expect(error.code).toBe('TEST_TIME_TOO_SHORT')
  expect(error.message).toMatch(
    /\n {2}Got: {6}200 ms until the end of the test; the last boot took .*\nFix: Give the test more time: end it with `\}, 120_000\)`/,
  )
  expect(templatesIn(cacheDir)).toEqual([])
})

test('two clones have different identities', async () => {
  await using one = await launchVM({ ...options, name: 'one' })
  await using two = await launchVM({ ...options, name: 'two' })
  const [ofOne, ofTwo] = [await identify(one), await identify(two)]
  for (const fact of Object.keys(ofOne)) {
    expect(ofOne[fact], fact).toMatch(/./)
    expect(ofOne[fact], fact).not.toBe(ofTwo[fact])
  }
  expect((await one.ssh`hostname`).stdout).toBe('one')
  expect((await two.ssh`hostname`).stdout).toBe('two')
  expect(ofOne.machineId).toMatch(/^[0-9a-f]{32}$/)
})

test('the clock of a clone is set to the time of the host', async () => {
  await using vm = await launchVM(options)
  const { stdout } = await vm.exec('date +%s')
  expect(Math.abs(Number(stdout) * 1000 - Date.now())).toBeLessThan(2000)
})

test('clones have different random numbers, starting with the first byte', async () => {
  const firsts = []
  for (let run = 0; run < 3; run++) {
    await using vm = await launchVM({ ...options, ready: 'agent' })
    firsts.push((await vm.exec('head -c 32 /dev/urandom | xxd -p -c 32')).stdout)
  }
  expect(new Set(firsts).size).toBe(3)
})

test('a clone looks like a guest that has just been booted', async () => {
  await withVM(options, async (vm) => {
    await vm.ssh`echo mine >/root/mine; echo mine >/tmp/mine; sync`
  })
  await withVM(options, async (vm) => {
    expect((await vm.ssh`ls /root /tmp`).stdout).not.toContain('mine')
    // Earlier commands leave no traces, not even a login.
    expect((await vm.ssh`ls /run/credentials/@system; pidof dropbear | wc -w`).stdout).toMatch(/^\d$/)
    expect((await vm.ssh`umask; echo $HOME`).stdout).toBe('0022\n/root')
  })
})

test('the console log of a clone contains the boot of its template from the first byte', async () => {
  await using vm = await launchVM(options)
  expect(vm.serial.text).toContain('SeaBIOS')
  await vm.serial.waitFor('withvm: sshd')
  await vm.ssh`echo live >/dev/ttyS0`
  await vm.serial.waitFor('live')
  expect(readFileSync(vm.serial.logPath ?? '', 'utf8')).toBe(vm.serial.text)
  expect(vm.timeline.map(({ stage }) => stage)).toEqual(['qemu', 'sshd', 'login', 'ready'])
})

test('a clone keeps its identity across a reboot', async () => {
  await using vm = await launchVM({ ...options, name: 'again' })
  const before = await identify(vm)
  await vm.ssh`echo kept >/root/kept`
  await vm.reboot()
  const after = await identify(vm)
  for (const fact of ['machineId', 'mac', 'hostKey', 'authorizedKeys', 'linkLocal']) {
    expect(after[fact], fact).toBe(before[fact])
  }
  expect((await vm.ssh`hostname; cat /root/kept`).stdout).toBe('again\nkept')
  expect(vm.bootCount).toBeGreaterThan(1)
})

test('a clone can be power-cycled and keeps its disk', async () => {
  await using vm = await launchVM(options)
  await vm.ssh`echo kept >/root/kept && sync`
  await vm.powerCut()
  await vm.start()
  expect((await vm.ssh`cat /root/kept`).stdout).toBe('kept')
  await vm.shutdown()
  await vm.start()
  expect((await vm.ssh`cat /root/kept`).stdout).toBe('kept')
})

test('clones never change their template', async () => {
  const cacheDir = ownTemplates()
  await (await launchVM(options)).dispose()
  const [template = ''] = templatesIn(cacheDir)
  const files = ['memory', 'state', 'disk.qcow2', 'overlay.qcow2', 'serial.log'].map((file) =>
    join(template, file),
  )
  const before = await Promise.all(files.map(hashFile))
  await withVM(options, async (vm) => {
    await vm.ssh`dd if=/dev/urandom of=/root/big bs=1M count=16; dd if=/dev/urandom of=/tmp/big bs=1M count=16; sync`
    await vm.powerCut()
    await vm.start()
  })
  expect(await Promise.all(files.map(hashFile))).toEqual(before)
})

test('a guest with other hardware needs another template; resources outside of the guest do not matter', async () => {
  const cacheDir = ownTemplates()
  const start = (more: object) => withVM({ ...options, ...more }, (vm) => vm.startedFrom)
  const plain = await start({})
  const outside = await start({ name: 'other', hostfwd: [{ guest: 80 }], network: { internet: true } })
  const bigger = await start({ memory: '384M' })
  expect(templatesIn(cacheDir)).toHaveLength(2)
  expect(outside).toEqual({ ...plain, buildMs: undefined })
  expect(bigger).toMatchObject({ kind: 'template', buildMs: expect.any(Number) })
  expect(bigger).not.toMatchObject({ template: (plain as { template?: string }).template })
})

test("`start: 'cold'` boots cold, and so do options that need a boot, with the reason reported", async () => {
  const lines: string[] = []
  await using vm = await launchVM({ start: 'cold' })
  expect(vm.startedFrom).toEqual({ kind: 'cold', reason: "start: 'cold'" })
  expect(vm.timeline.map(({ stage }) => stage)).toEqual(expect.arrayContaining(['kernel', 'init']))
  await using other = await launchVM({ start: 'warm', ready: 'none', log: (line) => lines.push(line) })
  expect(other.startedFrom).toMatchObject({ kind: 'cold' })
  expect(lines).toContain(`'${other.id}' is booted cold: with \`ready: 'none'\` the test observes the boot.`)
})
