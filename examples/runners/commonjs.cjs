const { withVM } = require('withvm')

withVM({ image: 'tiny' }, async (vm) => {
  const { stdout } = await vm.ssh`uname -s`
  console.log(`The guest runs ${stdout}.`)
}).catch((error) => {
  console.error(error)
  process.exitCode = 1
})
