import { execFileSync } from 'node:child_process'
import { type AddressInfo, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createDeferred } from '../../../../../src/common/deferred.js'
import { describeExpectation } from '../../../../../src/vm/guest/checks/check.js'
import { compareFile, fileExists, parseFileFacts } from '../../../../../src/vm/guest/checks/file.js'
import { buildProbeScript } from '../../../../../src/vm/guest/checks/guest-script.js'
import { readJournal } from '../../../../../src/vm/guest/checks/journal.js'
import { parseAddresses, parseListeningPorts } from '../../../../../src/vm/guest/checks/network.js'
import { parseMounts, parseProcesses } from '../../../../../src/vm/guest/checks/system.js'
import { readUnit } from '../../../../../src/vm/guest/checks/systemd.js'
import { urlAnswers } from '../../../../../src/vm/guest/checks/url.js'
import { describeAttempts } from '../../../../../src/vm/guest/checks/wait-until.js'
import type { GuestHandle } from '../../../../../src/vm/guest/guest-handle.js'
import { usedHeap } from '../../../../support/used-heap.js'

describe('the probe script', () => {
  const run = (condition: string, longPoll?: { holdMs: number; until: boolean }) =>
    execFileSync(
      '/bin/sh',
      ['-c', buildProbeScript({ condition, report: 'echo seen; echo twice' }, longPoll)],
      {
        encoding: 'utf8',
      },
    )

  test('the probe script probes once without a long poll', () => {
    expect(run('true')).toBe('met\nseen\ntwice\n')
    expect(run('false')).toBe('unmet\nseen\ntwice\n')
  })

  test('the probe script ends as soon as the expected outcome is observed', () => {
    const counting = 'c=$((c + 1)); [ $c -ge 3 ]'
    expect(run(counting, { holdMs: 60_000, until: true })).toMatch(/^met\n/)
    expect(run(`! { ${counting}; }`, { holdMs: 60_000, until: false })).toMatch(/^unmet\n/)
  })

  test('the probe script ends at its time limit', () => {
    const startedAt = performance.now()
    expect(run('false', { holdMs: 300, until: true })).toMatch(/^unmet\n/)
    expect(performance.now() - startedAt).toBeGreaterThan(290)
  })
})

test("listening ports are parsed from the kernel's tables", () => {
  const tcp = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 10 1
   1: 0F02000A:0016 0202000A:D431 01 00000000:00000000 00:00000000 00000000     0        0 11 1
   2: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00
   3: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00`
  expect(parseListeningPorts(tcp, 'tcp')).toEqual([22, 8080])
  const udp =
    '  49: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000\n 50: 0F02000A:0007 0202000A:D431 01 0'
  expect(parseListeningPorts(udp, 'udp')).toEqual([7, 68])
})

test('addresses are parsed from `ip addr` and `ifconfig`', () => {
  const ip =
    '    inet 10.0.2.15/24 brd 10.0.2.255 scope global eth0\n    inet6 fe80::5054:ff:fe12:3456/64 scope link'
  expect(parseAddresses(ip)).toEqual(['10.0.2.15/24', 'fe80::5054:ff:fe12:3456/64'])
  const ifconfig = '  inet addr:10.0.2.15  Bcast:10.0.2.255\n  inet6 addr: fe80::1/64 Scope:Link'
  expect(parseAddresses(ifconfig)).toEqual(['10.0.2.15', 'fe80::1/64'])
})

test('processes are parsed with unusual names and kernel threads, without zombies and checks', () => {
  const stat = (pid: number, name: string, state = 'S') =>
    `==> /proc/${pid}/stat <==\n${pid} (${name}) ${state} 1 1 0\n\n`
  const text = [
    stat(1, 'init'),
    stat(2, 'kthreadd'),
    stat(9, 'a) b ('),
    stat(10, 'gone', 'Z'),
    stat(11, 'sh'),
    stat(12, 'sleep'),
    '==> /proc/1/cmdline <==\n/sbin/init\0--x y\0\n',
    '==> /proc/2/cmdline <==\n\n',
    '==> /proc/9/cmdline <==\n./odd\0\n',
    '==> /proc/10/cmdline <==\n\n',
    '==> /proc/11/cmdline <==\n/bin/sh\0-c\0: withvm-check\ncondition() {\0\n',
    '==> /proc/12/cmdline <==\nsleep\x000.1000137\x00',
  ].join('')
  expect(parseProcesses(text)).toEqual([
    { pid: 1, name: 'init', commandLine: '/sbin/init --x y' },
    { pid: 2, name: 'kthreadd', commandLine: '' },
    { pid: 9, name: 'a) b (', commandLine: './odd' },
  ])
})

test('mount paths with spaces are parsed', () => {
  expect(parseMounts('/dev/vda / ext4 rw,relatime 0 0\nnone /a\\040b tmpfs rw 0 0\n')).toEqual([
    { source: '/dev/vda', path: '/', type: 'ext4', options: 'rw,relatime' },
    { source: 'none', path: '/a b', type: 'tmpfs', options: 'rw' },
  ])
})

describe('a file', () => {
  test('all expected properties of a file are compared', () => {
    const facts = parseFileFacts('640 user root 1000 0 4\nabc123  -\na\nb')
    expect(facts).toMatchObject({ mode: '640', uid: '1000', bytes: 4, sha256: 'abc123', content: 'a\nb' })
    if (facts === undefined) return
    expect(
      compareFile(facts, { mode: '0640', owner: 'user:0', sha256: 'ABC123', content: 'a\nb\n' }),
    ).toEqual({
      isMet: true,
      received: 'mode 640, owner user:root, sha256 abc123, content "a\\nb"',
    })
    expect(compareFile(facts, { owner: 'root' })).toEqual({ isMet: false, received: 'owner user:root' })
    expect(compareFile(facts, { content: /^b$/m }).isMet).toBe(true)
    expect(compareFile(facts, { content: 'a' }).isMet).toBe(false)
    expect(compareFile({ ...facts, bytes: 2 ** 21 }, { content: 'a' }).received).toBe(
      '2097152 bytes, too large to read',
    )
  })

  test('the expectation of a file is described, also negated', () => {
    const check = fileExists('/a', { mode: 0o4755, owner: 0, content: /x/ })
    expect(check.expected).toBe('the file /a to exist with mode 4755, owner 0, content /x/')
    expect(describeExpectation(fileExists('/a'), true)).toBe('the file /a not to exist')
  })
})

describe('a unit of systemd', () => {
  const read = (jobs: string, properties: string) => readUnit('demo.service', `${jobs}\n---\n${properties}`)

  test.for([
    [
      'LoadState=loaded\nActiveState=active\nSubState=running',
      '',
      { isMet: true, received: 'active (running)' },
    ],
    [
      'LoadState=loaded\nActiveState=activating\nSubState=auto-restart',
      '',
      { isMet: false, received: 'activating (auto-restart)' },
    ],
    [
      'LoadState=loaded\nActiveState=inactive\nSubState=dead',
      '7 other.service start waiting',
      { isMet: false, received: 'inactive (dead), with jobs pending' },
    ],
    [
      'LoadState=loaded\nActiveState=inactive\nSubState=dead',
      'No jobs running.',
      {
        isMet: false,
        received: 'inactive (dead), no jobs',
        never: 'the unit demo.service is inactive, and systemd has no job to do',
      },
    ],
    [
      'LoadState=not-found\nActiveState=inactive\nSubState=dead',
      '7 other.service start waiting',
      { isMet: false, received: 'a unit that is not-found', never: 'the unit demo.service is not-found' },
    ],
    [
      // systemd 252, with `ExecStartPre=-/bin/false` and `ExecStartPre=/bin/sh -c "exit 4"`
      [
        'LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\nExecMainPID=0\nExecMainStatus=0',
        'ExecStartPre={ path=/bin/false ; argv[]=/bin/false ; ignore_errors=yes ; start_time=[Sun 2026-11-29 19:00:00 UTC] ; stop_time=[Sun 2026-11-29 19:00:00 UTC] ; pid=611 ; code=exited ; status=1 }',
        'ExecStartPre={ path=/bin/sh ; argv[]=/bin/sh -c exit 4 ; ignore_errors=no ; start_time=[Sun 2026-11-29 19:00:00 UTC] ; stop_time=[Sun 2026-11-29 19:00:00 UTC] ; pid=612 ; code=exited ; status=4 }',
        'ExecStartPost={ path=/bin/true ; argv[]=/bin/true ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }',
      ].join('\n'),
      '',
      {
        isMet: false,
        received: 'failed (failed), result exit-code, ExecStartPre=/bin/sh -c exit 4: exit status 4',
        never: 'the unit demo.service failed',
      },
    ],
    [
      // systemd 252, with `ExecStartPre=/bin/sh -c "echo a ; exit 4"`
      [
        'LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\nExecMainPID=0\nExecMainStatus=0',
        'ExecStartPre={ path=/bin/sh ; argv[]=/bin/sh -c echo a ; exit 4 ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=612 ; code=exited ; status=4 }',
      ].join('\n'),
      '',
      {
        isMet: false,
        received: 'failed (failed), result exit-code, ExecStartPre=/bin/sh -c echo a ; exit 4: exit status 4',
        never: 'the unit demo.service failed',
      },
    ],
    [
      [
        'LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=timeout\nExecMainPID=0\nExecMainStatus=0',
        'ExecStartPre={ path=/bin/sleep ; argv[]=/bin/sleep 99 ; ignore_errors=no ; start_time=[Sun 2026-11-29 19:00:00 UTC] ; stop_time=[Sun 2026-11-29 19:00:09 UTC] ; pid=612 ; code=killed ; status=15/TERM }',
      ].join('\n'),
      '',
      {
        isMet: false,
        received: 'failed (failed), result timeout, ExecStartPre=/bin/sleep 99: killed by SIGTERM',
        never: 'the unit demo.service failed',
      },
    ],
    [
      'LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=resources\nExecMainPID=0\nExecMainStatus=0',
      '',
      {
        isMet: false,
        received: 'failed (failed), result resources',
        never: 'the unit demo.service failed',
      },
    ],
    [
      'LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=timeout\nExecMainStatus=0',
      '',
      {
        isMet: false,
        received: 'failed (failed), result timeout, exit status 0',
        never: 'the unit demo.service failed',
      },
    ],
  ] as const)('is judged by %j', ([properties, jobs, outcome]) => {
    expect(read(jobs, properties)).toEqual(outcome)
  })
})

test('ignored lines do not make a journal unclean', () => {
  const text =
    '-- No entries --\n2026-11-22T10:00:00 host kernel: tsc unstable\n2026-11-22T10:00:01 host demo: broken'
  expect(readJournal(text, [/tsc/g, /broken$/]).isMet).toBe(true)
  expect(readJournal(text, [/tsc/])).toEqual({
    isMet: false,
    received: '2026-11-22T10:00:01 host demo: broken',
    never: 'the journal has 1 such line',
  })
  expect(readJournal('', []).isMet).toBe(true)
})

test('the call log merges equal polls and shows the last ones', () => {
  const attempts = ['a', 'a', 'b\nmore', 'c', 'd', 'e', 'f', 'g'].map((received, index) => ({
    atMs: index * 100,
    received,
  }))
  expect(describeAttempts({ attempts, elapsedMs: 800 })).toBe(
    '…\nafter 200 ms: b …\nafter 300 ms: c\nafter 400 ms: d\nafter 500 ms: e\nafter 600 ms: f\nafter 700 ms: g\nended after 800 ms',
  )
  expect(describeAttempts({ attempts: attempts.slice(0, 2), elapsedMs: 100 })).toBe(
    'after 0 ms: a (2 times)\nended after 100 ms',
  )
})

/** Each takes minutes if the time of a pattern is quadratic in the length of the answer or of a line. */
test.each<[string, (text: string) => unknown, () => string]>([
  ['of processes, with line ends', parseProcesses, () => `==> /proc/1/cmdline <==\n${'\n'.repeat(2 ** 18)}x`],
  ['of processes, with names', parseProcesses, () => `==> /proc/1/stat <==\n1 (${') '.repeat(2 ** 18)}`],
  ['of mounts, with blanks', parseMounts, () => ' '.repeat(2 ** 18)],
  ['of a file', parseFileFacts, () => `1 2 3 4 5 ${'6'.repeat(2 ** 18)}\n${'a'.repeat(2 ** 18)}`],
  ['of ports', (text) => parseListeningPorts(text, 'tcp'), () => ' '.repeat(2 ** 18)],
  ['of addresses', parseAddresses, () => 'inet '.repeat(2 ** 18)],
  ['of the journal', (text) => readJournal(text, []), () => `-- ${' --'.repeat(2 ** 18)}x`],
  [
    'of a unit, with many commands',
    (text) => readUnit('x', text),
    () =>
      `---\nActiveState=failed\n${`ExecStartPre={ ${'argv[]='.repeat(280)}${' ; flags= ;'.repeat(180)} }\n`.repeat(500)}`,
  ],
  [
    'of a unit, with a long command',
    (text) => readUnit('x', text),
    () =>
      `---\nActiveState=failed\nExecStartPre={ ${'argv[]='.repeat(2 ** 16)}${' ; flags= ;'.repeat(2 ** 16)} }\n`,
  ],
])(
  'a hostile answer %s does not block the process',
  (_, parse, make) => {
    parse(make())
  },
  10_000,
)

test('the body of a URL check in pieces of one byte takes no more memory than in large ones', async () => {
  const count = 300_000
  const sent = createDeferred<void>()
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
    socket.write(Buffer.from('1\r\na\r\n'.repeat(count)), () => sent.resolve())
    sent.promise
      .then(() => sleep(500))
      .then(() => {
        grown = usedHeap() - before
        socket.end('0\r\n\r\n')
      })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const { port } = server.address() as AddressInfo
  const check = urlAnswers(`http://127.0.0.1:${port}/`)
  const before = usedHeap()
  let grown = 0
  const { value } = await check.run({ timeFactor: 1 } as GuestHandle, new AbortController().signal)
  expect(value).toEqual({ status: 200, body: 'a'.repeat(count) })
  expect(grown).toBeLessThan(8 * 1024 ** 2)
})
