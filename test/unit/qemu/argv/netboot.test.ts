import { expect, test } from 'vitest'
import { buildManualCommand, buildQemuCommand } from '../../../../src/qemu/argv/build-command.js'
import type { NetbootWiring } from '../../../../src/qemu/command.js'
import type { NetbootOptions } from '../../../../src/spec/netboot.js'
import type { VMOptions } from '../../../../src/spec/options.js'
import { resolveSpec } from '../../../../src/spec/resolve/resolve-spec.js'

const host = {
  qemuPath: 'qemu',
  accelerator: 'tcg',
  hostPorts: [],
  mac: '52:54:00:12:34:56',
} as const

function build(netboot: NetbootOptions, run: Partial<NetbootWiring> = {}, more: VMOptions = {}): string[] {
  const { args } = buildQemuCommand(resolveSpec({ netboot, ...more }, undefined), {
    ...host,
    sandbox: true,
    overlay: undefined,
    qmpSocket: 'qmp',
    serialSocket: 'serial',
    serialLog: 'log',
    agentSocket: 'agent',
    identityAgentSocket: 'identity',
    smbiosFiles: [],
    netboot: {
      folder: '/run/netboot,1',
      captureFile: '/run/network-1.pcap',
      relayCommand: undefined,
      isFirst: true,
      ...run,
    },
  })
  return [...args]
}

const after = (args: readonly string[], name: string, at = 0) =>
  args.flatMap((arg, index) => (arg === name ? [args[index + 1]] : []))[at]

test('network boot puts the card first in the boot order and captures its traffic', () => {
  const args = build(
    { root: '/srv', bootfile: 'pxelinux.0', tftpServerName: 'boot' },
    {},
    { network: { model: 'e1000' } },
  )
  expect(after(args, '-netdev')).toBe(
    'user,id=net0,restrict=on,tftp=/run/netboot,,1,bootfile=pxelinux.0,tftp-server-name=boot',
  )
  expect(after(args, '-device')).toBe('e1000,netdev=net0,id=card0,mac=52:54:00:12:34:56,bootindex=0')
  expect(after(args, '-object')).toBe('filter-dump,id=wire,netdev=net0,file=/run/network-1.pcap,maxlen=640')
  expect(after(args, '-sandbox')).toContain('spawn=deny')
  expect(args).not.toContain('-boot')
})

test('the card is not first with another boot order, or after `once`', () => {
  expect(after(build({ root: '/srv' }, { isFirst: false }), '-device')).toBe(
    'virtio-net-pci,netdev=net0,id=card0,mac=52:54:00:12:34:56',
  )
  expect(resolveSpec({ netboot: { root: '/srv' }, boot: 'cn' }, undefined).netboot?.isFirst).toBe(false)
})

test('the HTTP server is reached through QEMU, whose sandbox then allows processes', () => {
  const args = build(
    { root: '/srv', http: { address: '10.0.2.9', port: 8080 } },
    { relayCommand: "node '/run/a,b.cjs'" },
  )
  expect(after(args, '-netdev')).toBe(
    "user,id=net0,restrict=on,tftp=/run/netboot,,1,guestfwd=tcp:10.0.2.9:8080-cmd:node '/run/a,,b.cjs'",
  )
  expect(after(args, '-sandbox')).toBe(
    'on,obsolete=deny,elevateprivileges=allow,spawn=allow,resourcecontrol=deny',
  )
})

test("the manual command line serves the author's folder", () => {
  const { args } = buildManualCommand(
    resolveSpec({ netboot: { root: '/srv', bootfile: 'a' } }, undefined),
    host,
  )
  expect(after(args, '-netdev')).toBe('user,id=net0,restrict=on,tftp=/srv,bootfile=a')
  expect(after(args, '-device')).toBe('virtio-net-pci,netdev=net0,id=card0,mac=52:54:00:12:34:56,bootindex=0')
})

test('`network.tftp` changes neither the boot order nor `ready`', () => {
  const spec = resolveSpec({ network: { tftp: '/srv', bootfile: 'a' } }, undefined)
  expect(spec.netboot).toMatchObject({ root: '/srv', bootfile: 'a', isFirst: false, once: false })
  expect([spec.ready, spec.ssh?.user]).toEqual(['ssh', 'root'])
})

test('a guest that boots only from the network is ready without SSH', () => {
  const ready = (options: VMOptions) =>
    resolveSpec({ netboot: { root: '/srv' }, ...options }, undefined).ready
  expect(ready({})).toBe('none')
  expect(ready({ ssh: {} })).toBe('ssh')
  expect(ready({ ready: 'ssh' })).toBe('ssh')
})
