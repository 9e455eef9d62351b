//! Copies a file as tokio programs do.

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let mut paths = std::env::args().skip(1);
    let mut next = || paths.next().expect("FROM TO");
    let mut from = tokio::fs::File::open(next()).await?;
    let mut to = tokio::fs::File::create(next()).await?;
    tokio::io::copy(&mut from, &mut to).await?;
    to.sync_all().await
}
