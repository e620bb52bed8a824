import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { explainKill, readOomKills } from '../../../src/host/oom-kills.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

function hostWith(files: Readonly<Record<string, string>>): string {
  const root = ownTmpdir()
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), `${text}\n`)
  }
  return root
}

test('`readOomKills()` reads the counters of the host and of the control group, for cgroup v1 and v2', async () => {
  const vmstat = { 'proc/vmstat': 'pgfault 12\noom_kill 7\nunevictable 0' }
  const second = hostWith({
    ...vmstat,
    'proc/self/cgroup': '0::/ci.slice/job',
    'sys/fs/cgroup/ci.slice/memory.events': 'oom 9\noom_kill 9',
    'sys/fs/cgroup/ci.slice/job/memory.events': 'max 4\noom 2\noom_kill 1\noom_group_kill 0',
  })
  expect(await readOomKills(second)).toEqual({ host: 7, cgroup: 1 })
  const container = hostWith({
    ...vmstat,
    'proc/self/cgroup': '4:memory:/docker/1\n0::/',
    'sys/fs/cgroup/memory/memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 3',
  })
  expect(await readOomKills(container)).toEqual({ host: 7, cgroup: 3 })
  expect(await readOomKills(ownTmpdir())).toEqual({ host: undefined, cgroup: undefined })
})

test.each([
  [{ host: 1, cgroup: 1 }, { host: 2, cgroup: 2 }, /^Give the container .* killed a process of this group/],
  [{ host: 1, cgroup: 1 }, { host: 2, cgroup: 1 }, /^Run fewer guests .* killed a process of this host/],
  [{ host: 1, cgroup: 1 }, { host: 1, cgroup: 1 }, /another program or a user killed QEMU/],
  [{ host: 1, cgroup: undefined }, { host: 1, cgroup: undefined }, /another program or a user killed QEMU/],
  [{ host: undefined, cgroup: 0 }, { host: undefined, cgroup: 0 }, /does not report out-of-memory kills/],
])('`explainKill()` derives the hint from the counters %j and %j', (before, after, hint) => {
  expect(explainKill(before, after)).toMatch(hint)
})
