import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { launchVM } from 'withvm'
import { makeBusyboxRoot } from '../support/busybox-root.js'
import { ownCache } from '../support/own-cache.js'
import { ownTmpdir } from '../support/own-tmpdir.js'
import { tarOf, writeOciLayout } from '../support/root-files.js'

const options = { ssh: false, log: () => {} } as const

test('a compressed tarball of a root file system boots its own init', async () => {
  const root = await makeBusyboxRoot('#!/bin/sh\nstat -c "init of %U, %a" /bin/busybox\nexec sh\n')
  const archive = tarOf(root, join(ownTmpdir(), 'root.tar'), '--owner=0', '--group=0')
  execFileSync('gzip', ['-1', archive])
  ownCache()
  await using vm = await launchVM({ ...options, image: `${archive}.gz`, ready: /^init of \w+, 755/m })
  await vm.serial.write('echo kept > /file; cat /file; ls -d /proc/self\n')
  await vm.serial.waitFor(/^kept[\s\S]*^\/proc\/self/m)
})

test('an OCI image layout boots its command, with its environment', async () => {
  const root = await makeBusyboxRoot()
  const layer = readFileSync(tarOf(root, join(ownTmpdir(), 'layer.tar')))
  const config = {
    Entrypoint: ['sh', '-c'],
    Cmd: ['echo "in $PWD: $GREETING"; exec sh'],
    Env: ['PATH=/bin', 'GREETING=hello'],
    WorkingDir: '/bin',
  }
  const layout = writeOciLayout(ownTmpdir(), [layer], config)
  ownCache()
  await using vm = await launchVM({ ...options, image: layout, ready: /^in \/bin: hello/m })
  expect(vm.serial.text).toContain('in /bin: hello')
})
