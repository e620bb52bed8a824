import { expect, test } from 'vitest'
import type { DhcpExchange } from '../../../src/net/dhcp.js'
import type { NetbootRequest } from '../../../src/net/netboot-request.js'
import { findTrouble, type NetbootFacts } from '../../../src/net/netboot-trouble.js'

const LEASE: DhcpExchange = {
  mac: '52:54:00:aa:bb:cc',
  messages: ['DISCOVER', 'OFFER', 'REQUEST', 'ACK'],
  isGranted: true,
  address: '10.0.2.15',
  bootfile: 'pxelinux.0',
  vendorClass: undefined,
  userClass: undefined,
  firmware: 'bios',
  uuid: undefined,
  startedAt: new Date(0),
  durationMs: 5,
}

const FILES = ['demo/linux', 'pxelinux.0', 'pxelinux.cfg/defaults']

function request(
  path: string,
  status: NetbootRequest['status'],
  more: Partial<NetbootRequest> = {},
): NetbootRequest {
  return {
    protocol: 'tftp',
    path,
    status,
    code: undefined,
    bytes: 0,
    blksize: 512,
    startedAt: new Date(0),
    durationMs: 0,
    ...more,
  }
}

function tell(facts: Partial<NetbootFacts>): string | undefined {
  return findTrouble({
    requests: [],
    dhcp: [LEASE],
    files: FILES,
    changes: new Map(),
    failure: undefined,
    bootfile: 'pxelinux.0',
    isFirst: true,
    ...facts,
  })?.text
}

test.each<[string, Partial<NetbootFacts>, string]>([
  ['nothing was asked', { dhcp: [] }, 'DHCP: the guest did not ask for an address'],
  [
    'no answer came',
    { dhcp: [{ ...LEASE, isGranted: false, address: undefined, messages: ['DISCOVER', 'DISCOVER'] }] },
    'DHCP: the guest 52:54:00:aa:bb:cc asked for an address, and got no answer (DISCOVER, DISCOVER)',
  ],
  [
    'the offer was not taken',
    { dhcp: [{ ...LEASE, isGranted: false, messages: ['DISCOVER', 'OFFER'] }] },
    'DHCP: the guest 52:54:00:aa:bb:cc did not take the address that it was offered (DISCOVER, OFFER)',
  ],
  [
    'no boot file was named',
    { bootfile: undefined },
    'DHCP: the guest got the address 10.0.2.15, but no boot file was named to it',
  ],
  [
    'no file was asked for',
    {},
    'DHCP: the guest got the address 10.0.2.15 and the boot file pxelinux.0, but asked for no file',
  ],
  [
    'the boot file is missing',
    { requests: [request('/pxelinux.O', 'not found', { code: 1 })] },
    'TFTP: /pxelinux.O: file not found; the folder has pxelinux.0, demo/linux, pxelinux.cfg/defaults',
  ],
  [
    'the configuration is missing',
    {
      requests: [
        request('pxelinux.0', 'complete'),
        request('pxelinux.cfg/0A', 'not found'),
        request('pxelinux.cfg/default', 'not found'),
      ],
    },
    'TFTP: pxelinux.cfg/default: file not found, nor any other of the 2 names under which PXELINUX looks for its configuration; the folder has pxelinux.cfg/defaults, pxelinux.0, demo/linux',
  ],
  [
    'the path leads outside',
    { requests: [request('../secret', 'failed', { code: 2 })] },
    'TFTP: ../secret: it is outside the folder, which is refused',
  ],
  [
    'the file was changed',
    {
      requests: [request('demo/linux', 'complete'), request('demo/initrd', 'pending')],
      changes: new Map([['demo/linux', 'it had 5 bytes, and has 3 now']]),
    },
    'TFTP: demo/linux: the file was changed while the guest booted: it had 5 bytes, and has 3 now',
  ],
  [
    'a loader loads itself',
    { requests: Array(8).fill(request('boot.ipxe', 'complete')) },
    'TFTP: boot.ipxe was fetched 8 times in one boot: a loader loads itself again and again',
  ],
  [
    'a file is under way',
    { requests: [request('initrd', 'pending', { bytes: 1024 })] },
    'TFTP: initrd was still under way, 1024 bytes of it had been sent',
  ],
  [
    'HTTP answered with an error',
    { requests: [request('/linux', 'failed', { protocol: 'http', code: 503 })] },
    'HTTP: /linux: answered with status 503, and 0 bytes',
  ],
  ['a function failed', { failure: 'the function for a failed: no' }, 'the function for a failed: no'],
])('where %s, that is told', (_, facts, text) => {
  expect(tell(facts)).toBe(text)
})

test('a boot that is not to be from the network has no trouble with it', () => {
  expect(tell({ dhcp: [], isFirst: false })).toBeUndefined()
})

test('a boot in which all that counts came has no trouble', () => {
  const requests = [
    request('pxelinux.0', 'complete'),
    request('pxelinux.cfg/01-52-54-00-aa-bb-cc', 'not found'),
    request('pxelinux.cfg/default', 'complete'),
    request('absent.c32', 'not found'),
    request('linux', 'complete'),
  ]
  expect(tell({ requests })).toBeUndefined()
})
