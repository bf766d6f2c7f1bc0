// Tests run the TypeScript sources as they are: Node strips the types, so nothing is built first.
export default {
  extensions: ['ts'],
  files: ['test/**/*.test.ts'],
  nodeArguments: ['--conditions=mesobus-source'],
  timeout: '60s',
};
