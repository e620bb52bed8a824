import { appendFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, vi } from 'vitest'
import { launchVM, type NetbootOptions } from 'withvm'
import { expect, test } from 'withvm/vitest'
import { eventually } from '../../support/eventually.js'
import { failureOf } from '../../support/failure-of.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'
import { dhcpMessage, makePcap, udpFrame } from '../../support/packets.js'

const NEVER = /never printed/

/** Starts a guest that cannot boot. Returns the error. */
async function failure(netboot: NetbootOptions) {
  const error = await failureOf(launchVM({ netboot, ready: NEVER, log: () => {} }))
  expect(error.code).toBe('NETBOOT_FAILED')
  return error
}

describe('failed network boots', () => {
  test('a missing boot file fails the start, and the error lists the files of the folder', async () => {
    const files = { 'pxelinux.1': '', 'more/files': '' }
    const { details, evidence } = await failure({ files, bootfile: 'pxelinux.0' })
    expect(details.summary.replace(/-[0-9a-f]{6}'/, "'")).toBe(
      "The guest 'guest' did not boot from the network. TFTP: pxelinux.0: file not found; the folder contains pxelinux.1, more/files.",
    )
    expect(details.got).toBe('The firmware found nothing to boot.')
    expect(evidence.find(({ label }) => label === 'Network boot')?.text).toMatch(
      /^DHCP [0-9a-f:]{17} \(bios, iPXE\): DISCOVER, .*ACK of 10\.0\.2\.15, boot file pxelinux\.0\nTFTP pxelinux\.0: not found$/,
    )
  })

  test('a missing configuration of PXELINUX fails the start', async () => {
    const { details } = await failure({ trees: ['pxelinux'], bootfile: 'pxelinux.0' })
    expect(details.summary).toMatch(
      /^The guest 'guest-[0-9a-f]{6}' did not boot from the network\. TFTP: \/?pxelinux\.cfg\/default: file not found, nor any other of the \d+ names that PXELINUX tries for its configuration; the folder contains .*pxelinux\.0/,
    )
    expect(details.got).toBe('The boot loader PXELINUX did not find its own files.')
    expect(details.hint).toBe('Put the configuration at pxelinux.cfg/default, next to pxelinux.0.')
  })

  test('a boot loader that loads itself in a loop fails the start', async () => {
    const { details } = await failure({
      files: { 'boot.ipxe': '#!ipxe\nchain boot.ipxe' },
      bootfile: 'boot.ipxe',
    })
    expect(details.summary).toMatch(
      /^The guest cannot boot from the network\. TFTP: boot\.ipxe was downloaded \d+ times in one boot: a boot loader loads itself in a loop\.$/,
    )
  })

  test('a function in `files` that throws fails the start', async () => {
    const boot = () => {
      throw new Error('no such machine')
    }
    const { details } = await failure({ files: { 'boot.ipxe': boot }, bootfile: 'boot.ipxe' })
    expect(details.summary).toBe(
      'The guest cannot boot from the network. The function for boot.ipxe failed: no such machine.',
    )
  })
})

test('a request for a path outside of the folder is rejected, and a file that changes during the boot is reported', async () => {
  const root = ownTmpdir()
  const script = [
    '#!ipxe',
    'imgfetch tftp://10.0.2.2/sub/../../secret || echo that was refused',
    'prompt --timeout 60000 press a key ||',
    'imgfetch initrd || ',
    'echo all steps are done',
    'sleep 60',
  ]
  writeFileSync(join(root, 'boot.ipxe'), script.join('\n'))
  writeFileSync(join(root, 'initrd'), 'x'.repeat(1000))
  await using vm = await launchVM({ netboot: { root, bootfile: 'boot.ipxe' }, ready: /press a key/ })
  await expect(vm.serial).toSee('that was refused')
  expect(vm.netboot.requests.at(-1)).toMatchObject({ path: 'sub/../../secret', status: 'failed', code: 2 })
  expect(vm.netboot.problem).toBe(
    'TFTP: sub/../../secret: rejected because the path is outside of the folder',
  )
  writeFileSync(join(root, 'initrd'), 'x'.repeat(10))
  await vm.serial.press('Enter')
  await expect(vm.serial).toSee('all steps are done')
  await eventually(() =>
    expect(vm.netboot.problem).toBe(
      'TFTP: initrd: the file was changed while the guest booted: its size changed from 1000 to 10 bytes',
    ),
  )
})

test.each([
  ['stopped at a limit', { limits: { console: 1 / 1024 ** 2 } }],
  ['paused by the test', {}],
])('a guest that was %s is not resumed for files that are functions', async (how, options) => {
  const made = vi.fn(() => '#!ipxe')
  const netboot = { files: { 'boot.ipxe': made }, bootfile: 'boot.ipxe' }
  await using vm = await launchVM({ netboot, ready: 'none', log: () => {}, ...options })
  if (how === 'paused by the test') await vm.qmp.execute('stop')
  else await eventually(() => expect(vm.lost.reason?.code).toBe('CONSOLE_LIMIT_EXCEEDED'))
  // As if the guest had requested an address just before that.
  const capture = makePcap([{ atUs: 0, frame: udpFrame([68, 67], dhcpMessage(1)) }])
  appendFileSync(join(vm.runFolder, 'network-1.pcap'), capture.subarray(24))
  await eventually(() => expect(made).toHaveBeenCalled())
  await sleep(300)
  expect((await vm.qmp.execute('query-status')).status).toBe('paused')
})

test('a missing DHCP reply is reported', async () => {
  await using vm = await launchVM({
    netboot: { files: { 'boot.ipxe': '' }, bootfile: 'boot.ipxe' },
    // Holds back the packets of the guest, after the point at which they are captured.
    qemuArgs: ['-object', 'filter-buffer,id=hold,netdev=net0,queue=rx,interval=4000000000,position=head'],
  })
  await eventually(() =>
    expect(vm.netboot.problem).toMatch(/requested an address and received no reply \(DISCOVER/),
  )
  await expect(expect(vm).toHaveGotLease({ timeout: '1s' })).rejects.toThrow(
    /Received: no lease\. DHCP: the guest [0-9a-f:]{17} requested an address and received no reply/,
  )
})
