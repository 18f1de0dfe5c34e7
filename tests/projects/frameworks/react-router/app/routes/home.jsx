export default function Home(){return <h1>rr page</h1>}
