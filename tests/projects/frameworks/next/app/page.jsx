export default function Page(){return <h1>next page</h1>}
