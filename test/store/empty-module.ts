export default () => ({ ops: {} })
