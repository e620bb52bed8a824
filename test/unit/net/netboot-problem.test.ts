import { expect, test } from 'vitest'
import type { DhcpExchange } from '../../../src/net/dhcp.js'
import { findProblem, type NetbootFacts } from '../../../src/net/netboot-problem.js'
import type { NetbootRequest } from '../../../src/net/netboot-request.js'

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
  return findProblem({
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
  ['no address was requested', { dhcp: [] }, 'DHCP: the guest did not request an address'],
  [
    'no reply was received',
    { dhcp: [{ ...LEASE, isGranted: false, address: undefined, messages: ['DISCOVER', 'DISCOVER'] }] },
    'DHCP: the guest 52:54:00:aa:bb:cc requested an address and received no reply (DISCOVER, DISCOVER)',
  ],
  [
    'the offer was not accepted',
    { dhcp: [{ ...LEASE, isGranted: false, messages: ['DISCOVER', 'OFFER'] }] },
    'DHCP: the guest 52:54:00:aa:bb:cc did not accept the offered address (DISCOVER, OFFER)',
  ],
  [
    'no boot file was named',
    { bootfile: undefined },
    'DHCP: the guest received the address 10.0.2.15, but no boot file',
  ],
  [
    'no file was requested',
    {},
    'DHCP: the guest received the address 10.0.2.15 and the boot file pxelinux.0, but requested no file',
  ],
  [
    'the boot file is missing',
    { requests: [request('/pxelinux.O', 'not found', { code: 1 })] },
    'TFTP: /pxelinux.O: file not found; the folder contains pxelinux.0, demo/linux, pxelinux.cfg/defaults',
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
    'TFTP: pxelinux.cfg/default: file not found, nor any other of the 2 names that PXELINUX tries for its configuration; the folder contains pxelinux.cfg/defaults, pxelinux.0, demo/linux',
  ],
  [
    'the path is outside of the folder',
    { requests: [request('../secret', 'failed', { code: 2 })] },
    'TFTP: ../secret: rejected because the path is outside of the folder',
  ],
  [
    'the file was changed',
    {
      requests: [request('demo/linux', 'complete'), request('demo/initrd', 'pending')],
      changes: new Map([['demo/linux', 'its size changed from 5 to 3 bytes']]),
    },
    'TFTP: demo/linux: the file was changed while the guest booted: its size changed from 5 to 3 bytes',
  ],
  [
    'a loader loads itself',
    { requests: Array(8).fill(request('boot.ipxe', 'complete')) },
    'TFTP: boot.ipxe was downloaded 8 times in one boot: a boot loader loads itself in a loop',
  ],
  [
    'a transfer is pending',
    { requests: [request('initrd', 'pending', { bytes: 1024 })] },
    'TFTP: initrd was still being transferred after 1024 bytes',
  ],
  [
    'HTTP returned an error',
    { requests: [request('/linux', 'failed', { protocol: 'http', code: 503 })] },
    'HTTP: /linux: the server responded with status 503 and 0 bytes',
  ],
  ['a function failed', { failure: 'the function for a failed: no' }, 'the function for a failed: no'],
])('the problem is reported when %s', (_, facts, text) => {
  expect(tell(facts)).toBe(text)
})

test('no problem is reported if the guest does not boot from the network', () => {
  expect(tell({ dhcp: [], isFirst: false })).toBeUndefined()
})

test('no problem is reported if only optional files are missing', () => {
  const requests = [
    request('pxelinux.0', 'complete'),
    request('pxelinux.cfg/01-52-54-00-aa-bb-cc', 'not found'),
    request('pxelinux.cfg/default', 'complete'),
    request('absent.c32', 'not found'),
    request('linux', 'complete'),
  ]
  expect(tell({ requests })).toBeUndefined()
})
