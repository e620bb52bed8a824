import { expect, test } from 'vitest'
import type { BaseImage } from '../../../src/spec/base-image.js'
import type { VMOptions } from '../../../src/spec/options.js'
import { resolveSpec } from '../../../src/spec/resolve/resolve-spec.js'
import type { MachineHost } from '../../../src/vm/machine/guest-plan.js'
import { describeTemplate } from '../../../src/warm/template-fingerprint.js'
import { SAMPLE_IMAGE as image } from '../../support/sample-machine.js'

const host: MachineHost = {
  qemu: {
    path: '/usr/bin/qemu-system-x86_64',
    version: { major: 7, minor: 2, micro: 0, text: '7.2.0' },
    arch: 'x86_64',
    fingerprint: 'qemu-1',
  },
  hasSandbox: true,
  accelerator: 'tcg',
  timeFactor: 9,
}

const key = (options: VMOptions, base: BaseImage = image, on: MachineHost = host) =>
  JSON.stringify(describeTemplate(resolveSpec(options, base), on, []))

test.each<[VMOptions]>([
  [{ name: 'other' }],
  [{ hostfwd: [{ guest: 80 }] }],
  [{ network: { internet: true } }],
  [{ network: { mac: '52:54:00:00:00:01' } }],
  [{ ready: 'agent' }],
  [{ network: { net: '10.5.0.0/24' } }],
  [{ debug: { gdb: true } }],
  [{ timeouts: { start: '1m' } }],
])(
  'a guest with %j uses the same template, because the option does not affect the state of the guest',
  (options) => {
    expect(key(options)).toBe(key({}))
  },
)

test('the fingerprint of a template contains the user that QEMU runs as', () => {
  const user = {
    name: 'nobody',
    uid: 65_534,
    gid: 65_534,
    hasGroups: true,
    home: '/',
    setpriv: '/usr/bin/setpriv',
  }
  expect(key({}, image, { ...host, user })).not.toBe(key({}))
})

test.each<[VMOptions]>([
  [{ memory: '512M' }],
  [{ cpus: 2 }],
  [{ cpu: 'qemu64' }],
  [{ machine: 'q35' }],
  [{ append: 'debug' }],
  [{ cpus: { count: 1, maxcpus: 2 } }],
  [{ memory: { max: '1G' } }],
  [{ systemDisk: { serial: 'A' } }],
  [{ vga: 'std' }],
  [{ rng: true }],
  [{ watchdog: true }],
  [{ network: { model: 'e1000' } }],
  [{ network: [{}, {}] }],
  [{ disks: [{ size: '1G' }] }],
  [{ numa: [{ memory: '128M' }, { memory: '128M' }] }],
  [{ firmware: 'uefi' }],
  [{ tpm: true }],
  [{ smbios: { product: 'Engine' } }],
  [{ rtc: { base: '2030-01-31' } }],
  [{ ports: [{ name: 'control' }] }],
  [{ devices: [{ driver: 'pvpanic' }] }],
  [{ login: { user: 'root' } }],
  [{ login: { user: 'root', prompt: /#/ } }],
  [{ ready: /up/ }],
  [{ ready: () => true }],
  [{ qemuArgs: ['-usb'] }],
])('a guest with %j needs another template', (options) => {
  expect(key(options)).not.toBe(key({}))
})

test('another image content, QEMU or accelerator needs another template', () => {
  const keys = [
    key({}),
    key({}, { ...image, fingerprint: 'content-2' }),
    key({}, image, { ...host, qemu: { ...host.qemu, fingerprint: 'qemu-2' } }),
    key({}, image, { ...host, accelerator: 'kvm' }),
  ]
  expect(new Set(keys).size).toBe(4)
  expect(key({}, image, { ...host, timeFactor: 20 })).toBe(key({}))
})

test('under TCG, a host with another TSC frequency needs another template', () => {
  const on = (tscKhz: number | undefined, accelerator: 'tcg' | 'kvm' = 'tcg') =>
    JSON.stringify(
      describeTemplate(resolveSpec({}, image), { ...host, accelerator }, [], { model: 'EPYC', tscKhz }),
    )
  expect(on(2_500_000)).not.toBe(on(2_100_000))
  expect(on(2_100_300)).toBe(on(2_100_000))
  expect(on(undefined)).toBe(on(undefined))
  expect(on(2_500_000, 'kvm')).toBe(on(2_100_000, 'kvm'))
})
