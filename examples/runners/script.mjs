import { launchVM } from 'withvm'

const vm = await launchVM({ image: 'tiny' })
try {
  const { stdout } = await vm.ssh`uname -s`
  console.log(`The guest runs ${stdout}.`)
} finally {
  await vm.dispose() // or declare `await using vm` in TypeScript and in Node.js 24
}
